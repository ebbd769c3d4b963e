"""``palpate predict``: masks of a folder of images, as PNG files."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from palpate.cli.mappings import values
from palpate.cli.progress_bars import show_progress


def predict(
    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")],
    images: Path,
    out: Path,
    prompts: tuple[str, ...] = (),
    probabilities: Literal["none", "plain", "stretched"] = "none",
    size: int | None = None,
    enlarge: Literal["bilinear", "nearest"] = "bilinear",
    options: dict[str, str] | None = None,
    device: str = "auto",
    batch_size: int = 8,
    trust_code: bool = False,
) -> None:
    """Write the masks that a model predicts for a folder of images, at the size of the images.

    The mask of images/a.jpg is OUT/masks/a.png; with several prompts each has a folder of its own,
    such as OUT/masks/left-atrium/a.png. The same command continues an interrupted prediction.
    Other files in OUT are never overwritten.

    Args:
        model: Name, checkpoint, file or code (file.py:function) of a model, or the folder of a run.
        images: Folder of your images.
        out: Output folder.
        prompts: What to segment, such as "polyp", or several structures; needed only if the model
            reads a prompt. By default the prompt of the run.
        probabilities: Also write probabilities to OUT/probabilities, from 0 to 255 (plain), or with
            those of each image stretched to the whole range, as PraNet does (stretched).
        size: Images are resized to a square of this side before the model sees them, in pixels; by
            default that of the run, or else the model gets them in their own size.
        enlarge: With a size: enlarge the logits (bilinear), as PraNet does, or the finished mask
            (nearest), as MedVLSM does.
        options: Options of the model family, as NAME VALUE ...; values are read as YAML.
        device: cpu, cuda, cuda:1, ...; auto uses CUDA if it is available.
        batch_size: Maximum number of images per forward pass.
        trust_code: Let files run code of their own, such as the expressions in a MONAI bundle.
    """
    from palpate.evaluation.predict import MASKS
    from palpate.pipeline.run.predict import predict_images

    with show_progress() as progress:
        masks = predict_images(
            model, images, out, prompts=prompts, size=size, options=values(options), device=device,
            trust_code=trust_code, progress=progress, probabilities=probabilities, enlarge=enlarge,
            batch_size=batch_size,
        )  # fmt: skip
    print(f"{len(masks)} masks in {out / MASKS}")
