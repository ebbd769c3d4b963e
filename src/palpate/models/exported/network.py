"""A network from a file as a palpate model: what the file says of its input, and its options."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from palpate.models.facts import BROKEN
from palpate.models.preprocessing import enlarged, resized
from palpate.models.request import Request
from palpate.models.wrap.calling import converted
from palpate.models.wrap.output_checks import NoGradientError
from palpate.models.wrap.user_code import OF_WRAP, written
from palpate.models.wrap.wrap import Wrapped, wrap

_SIDE = 128  # pixels; side of the image for the test of the gradient


class NoGradientWarning(RuntimeWarning):
    """Warns of a network without gradient, which only black-box attacks can attack."""


@dataclass(frozen=True)
class FromFile:
    """A network that was read from a file.

    Attributes:
        net: The network.
        options: Arguments of :func:`palpate.wrap` that the file determines.
        origin: Where the weights come from, for ``palpate models``.
        gradientless: Why the network has no gradient; empty if it has one.
    """

    net: nn.Module
    options: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""
    gradientless: str = ""


def as_model(request: Request, found: FromFile) -> Wrapped:
    """Wrap a network from a file; options of the request override what the file says.

    Raises:
        ValueError: If an option is unknown or not valid.
    """
    request.refuse_adapter()
    request.refuse_tokenizer()
    request.check_options(sorted(OF_WRAP))
    model = wrap(found.net, **{**found.options, **request.options}, name=request.name)
    model.options, model.origin, model.seed = written(request.options), found.origin, request.seed
    model.requires_grad_(False)
    model.gradientless = found.gradientless or why_not_traced(model)
    if model.gradientless:
        model.is_differentiable = False  # read by the sanity card
        warnings.warn(
            f"{request.name} has no gradient: {model.gradientless}. Only black-box attacks can "
            "attack it (square, spsa, simba, hopskipjump, and noise as a control); they are "
            "weaker, so robustness measured with them is an upper bound.",
            NoGradientWarning,
            stacklevel=5,  # the caller of load_model
        )
    return model


def why_not_traced(model: Wrapped) -> str:
    """Why autograd cannot trace the model's answer to the pixels; empty if it can."""
    prompts = [next(iter(model.reading.classes or {"object": 0}))]
    images = torch.rand(1, 3, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0))
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            model(images.requires_grad_(), prompts)
    except NoGradientError as error:
        return error.why
    except BROKEN:  # the first call of the user says what is wrong
        return ""
    return ""


class Exported(nn.Module):
    """A network from a file. Its mode is fixed, and its file is a part of its fingerprint.

    Args:
        net: The network.
        file: The file, which is hashed: equal weights in another graph are another network.
        size: Height and width of the input, if the network accepts no other and they differ; other
            images are resized, and the answer is resized back.
        dtype: Type of the input.
    """

    def __init__(
        self,
        net: nn.Module,
        file: Path,
        size: tuple[int, int] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.net, self.size, self.dtype = net, size, dtype
        self.file_hash: Tensor
        self.register_buffer("file_hash", torch.tensor(list(_hash(file)), dtype=torch.uint8))
        self.train(False)

    def forward(self, pixels: Tensor, *others: Any) -> Any:
        """Call the network with pixels, and with further inputs if there are any."""
        if self.size is None:
            return self.net(pixels.to(self.dtype), *others)
        answer = self.net(resized(pixels, self.size).to(self.dtype), *others)
        return converted(answer, partial(_of_size, (pixels.shape[2], pixels.shape[3])))

    def train(self, mode: bool = True) -> "Exported":  # noqa: ARG002  # an exported graph has one mode
        """Keep evaluation mode: the graph was exported in one mode and has no other."""
        for part in self.modules():
            part.training = False
        return self


def _of_size(size: tuple[int, int], answer: Tensor) -> Tensor:
    """Resize maps; labels stay whole numbers, and other tensors as they are."""
    if answer.dim() not in (3, 4):
        return answer
    maps = answer[:, None] if answer.dim() == 3 else answer
    if answer.is_floating_point():
        made = enlarged(maps, size)
    else:
        made = nn.functional.interpolate(maps.float(), size, mode="nearest").to(answer.dtype)
    return made[:, 0] if answer.dim() == 3 else made


def _hash(file: Path) -> bytes:
    digest = sha256()
    with file.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.digest()


def reading_of(last: str) -> dict[str, Any]:
    """What the last operator of a graph says about its output, as arguments of ``wrap``.

    >>> reading_of("aten::sigmoid"), reading_of("Conv")
    ({'out': 'probabilities'}, {})
    """
    name = last.lower().removesuffix("_").rpartition(":")[2]
    if name in ("sigmoid", "softmax", "hardsigmoid"):
        return {"out": "probabilities"}
    return {"out": "classes"} if name == "argmax" else {}
