"""Converts images as if they were saved to a file and loaded again."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import PurePosixPath

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from palpate.evaluation.protocol.protocol import Protocol
from palpate.types import Images

_JPEG = (".jpg", ".jpeg")


def stored(images: Images, names: Sequence[str], protocol: Protocol) -> Images:
    """Save images in the format of the protocol and load them again.

    Images are unchanged if the protocol stores floats. Otherwise values are clamped to [0, 1],
    multiplied by 255 and rounded half up. JPEG is Pillow's, with chroma subsampling.

    Args:
        images: Float, shape ``(b, 3, h, w)``, any range.
        names: File name of each image; ``storage="named"`` uses its extension.
        protocol: The protocol, with storage format and JPEG quality.

    Returns:
        The images, with the dtype and device of ``images``.
    """
    if protocol.storage == "float":
        return images
    kept = [
        _as_file(image, _format(name, protocol), protocol.quality)
        for image, name in zip(images, names, strict=True)
    ]
    return torch.stack(kept).to(images)


def as_png(image: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
    """Return an image after a round trip through 8-bit PNG."""
    return _as_file(image, "PNG", 0).to(image)


def _format(name: str, protocol: Protocol) -> str:
    if protocol.storage == "named":
        return "JPEG" if PurePosixPath(name).suffix.lower() in _JPEG else "PNG"
    return protocol.storage.upper()


def _as_file(image: Float[Tensor, "3 h w"], kind: str, quality: int) -> Float[Tensor, "3 h w"]:
    levels = (image.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    file = BytesIO()
    options = {"quality": quality} if kind == "JPEG" else {"compress_level": 1}
    Image.fromarray(levels).save(file, format=kind, **options)
    with Image.open(file) as read:
        return torch.from_numpy(np.array(read)).permute(2, 0, 1).float() / 255
