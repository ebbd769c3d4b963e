"""``palpate demo``: a whole run in minutes, without any files."""

from pathlib import Path

from palpate.cli.mappings import IgnoredWords, MaskWords
from palpate.cli.recipes import run_own
from palpate.pipeline.recipe.demo import DEFAULT, OwnData, demo_config
from palpate.pipeline.recipe.masks import MaskConfig


def demo(
    modality: str = DEFAULT,
    fast: bool = False,
    images: Path | None = None,
    masks: Path | None = None,
    prompt: str | None = None,
    title: str | None = None,
    mask_values: MaskWords = (),
    mask_ignore: IgnoredWords = (),
    out: Path | None = None,
    json: Path | None = None,
) -> None:
    """Fine-tune and attack the small model that comes with palpate, and write a report, in minutes.

    The images are phantoms (synthetic images), or your own with --images, --masks and --prompt.

    Args:
        modality: Kind of phantoms: endoscopy, dermoscopy or echo.
        fast: Train and attack less, to finish in less than a minute.
        images: Folder of your images.
        masks: Folder of their masks, with the same file names.
        prompt: What the masks show, such as "polyp"; not needed if --mask.values has names.
        title: Name of your data in tables and pages; by default that of their folder.
        mask_values: Values of the structure in your masks (`127`), or a name for each of several
            structures (`255=tumour 127=liver`), if the masks are not binary.
        mask_ignore: Values of pixels to ignore, such as `255`.
        out: Run folder; by default palpate-demo-MODALITY in the current directory.
        json: Print the scores as JSON, or write them to this file.
    """
    own = _own_data(images, masks, prompt, MaskConfig(mask_values, mask_ignore), title)
    run_own(demo_config(modality, fast=fast, own=own, out=out), json)


def _own_data(
    images: Path | None,
    masks: Path | None,
    prompt: str | None,
    mask: MaskConfig,
    title: str | None,
) -> OwnData | None:
    if images and masks and (prompt or mask.has_names):
        return OwnData(images, masks, prompt, mask, title)
    if images or masks or prompt or title or mask != MaskConfig():
        raise ValueError(
            "Expected --images DIR, --masks DIR and --prompt TEXT (or names in --mask.values) "
            "together for your own data, or none of them for phantoms."
        )
    return None
