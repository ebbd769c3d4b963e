"""``palpate demo``: a whole run in minutes, without any files."""

from pathlib import Path

from palpate.cli.recipes import run_and_show
from palpate.pipeline.recipe.demo import DEFAULT, OwnData, demo_config


def demo(
    modality: str = DEFAULT,
    fast: bool = False,
    images: Path | None = None,
    masks: Path | None = None,
    prompt: str | None = None,
    out: Path | None = None,
    json: Path | None = None,
) -> None:
    """Fine-tune, attack and report the small model that comes with palpate, in minutes.

    The images are phantoms (synthetic images), or your own with --images, --masks and --prompt.

    Args:
        modality: Kind of phantoms: endoscopy, dermoscopy or echo.
        fast: Train and attack less, to finish in less than a minute.
        images: Folder of your images.
        masks: Folder of their masks, with the same file names.
        prompt: What the masks show, such as "polyp".
        out: Run folder; by default palpate-demo-MODALITY in the current directory.
        json: Print the scores as JSON, or write them to this file.
    """
    own = _own_data(images, masks, prompt)
    run_and_show(demo_config(modality, fast=fast, own=own, out=out), json)


def _own_data(images: Path | None, masks: Path | None, prompt: str | None) -> OwnData | None:
    if images and masks and prompt:
        return OwnData(images, masks, prompt)
    if images or masks or prompt:
        raise ValueError(
            "Expected --images DIR, --masks DIR and --prompt TEXT together for your own data, or "
            "none of them for phantoms."
        )
    return None
