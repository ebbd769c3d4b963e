"""Cost of an attack: forward and backward passes through the model, and seconds."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from palpate.attacks.text import Prompted, Spelled
from palpate.evaluation.frozen import threshold_of
from palpate.prompting import Bound, wants_boxes, without_ignored
from palpate.types import Box, Images, Logits, Maps, Masks, Segmenter

T = TypeVar("T", bound=Tensor)


class Cost(NamedTuple):
    """Passes and seconds spent on one image."""

    forwards: float
    backwards: float
    seconds: float


class Tally:
    """Counts passes through :class:`Metered` models, and the seconds spent inside its context.

    >>> with Tally() as tally:
    ...     model = Metered(lambda images, prompts: images[:, :1], ("polyp", "mole"), tally)
    ...     _ = model(torch.zeros(2, 3, 4, 4))
    >>> tally.per_image(2).forwards
    1.0
    """

    def __init__(self) -> None:
        self.forwards = self.backwards = 0
        self.seconds = 0.0

    def __enter__(self) -> "Tally":
        self._started = _now()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += _now() - self._started

    def per_image(self, count: int) -> Cost:
        """The mean over ``count`` images."""
        return Cost(self.forwards / count, self.backwards / count, self.seconds / count)

    def counted(self, logits: T) -> T:
        """Count a forward pass per image, and a backward pass when a gradient comes back."""
        self.forwards += len(logits)
        if logits.requires_grad:
            logits.register_hook(self._count_backward)  # type: ignore[no-untyped-call]
        return logits

    def _count_backward(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


@dataclass(frozen=True)
class Metered:
    """A model with prompts and boxes bound that counts forward and backward passes, per image.

    Attributes:
        model: The model.
        prompts: One text per image.
        tally: Counts the passes.
        boxes: One box per image.
        ignored: Pixels that do not count, see :func:`palpate.prompting.without_ignored`.
    """

    model: Segmenter
    prompts: Sequence[str]
    tally: Tally
    boxes: Sequence[Box] | None = None
    ignored: Masks | None = None

    def __call__(self, images: Images) -> Maps:
        if len(images) != len(self.prompts):
            raise ValueError(
                f"Expected {len(self.prompts)} images, one per prompt, got {len(images)}."
            )
        return self.tally.counted(self._bound(images))

    def for_images(self, rows: Sequence[int]) -> "Metered":
        """The same model for some images of the batch, for attacks that drop finished images."""
        some = self._bound.for_images(rows)
        return replace(self, prompts=some.prompts, boxes=some.boxes, ignored=some.ignored)

    @property
    def _bound(self) -> Bound:
        return Bound(self.model, self.prompts, self.boxes, self.ignored)


@dataclass(frozen=True)
class MeteredSurrogate:
    """A surrogate model of a transfer attack that counts its forward and backward passes."""

    model: Callable[..., Logits]
    tally: Tally

    @property
    def threshold_logit(self) -> float:
        return threshold_of(self.model)

    @property
    def wants_boxes(self) -> bool:
        return wants_boxes(self.model)

    def __call__(self, images: Images, **prompts: Any) -> Logits:
        return self.tally.counted(self.model(images, **prompts))


def metered_text_model(model: Prompted, tally: Tally, ignored: Masks | None = None) -> Prompted:
    """Wrap a prompted model so that each text it decodes counts as one pass in ``tally``.

    Encoding an image is not counted as a pass, because all attacks on the text share the encoded
    image; its time is included in the seconds.

    Args:
        model: The model.
        tally: Counts the passes.
        ignored: Pixels of the only image that do not count, ``(1, 1, h, w)``.
    """
    kind = _MeteredSpelled if isinstance(model, Spelled) else _MeteredText
    return kind(model, tally, ignored)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _MeteredText:
    model: Prompted
    tally: Tally
    ignored: Masks | None

    def __call__(self, images: Images, prompts: Sequence[str]) -> Logits:
        return self._counted(self.model(images, prompts=prompts))

    def encode(self, images: Images) -> Any:
        return self.model.encode(images)

    def read(self, prompts: Sequence[str]) -> Float[Tensor, "b d"]:
        return self.model.read(prompts)

    def decode(self, encoded: Any, condition: Float[Tensor, "b d"]) -> Logits:
        return self._counted(self.model.decode(encoded, condition))

    def _counted(self, logits: Logits) -> Logits:
        return self.tally.counted(without_ignored(logits, self.ignored))


@dataclass(frozen=True)
class _MeteredSpelled(_MeteredText):
    model: Spelled

    @property
    def token_vectors(self) -> Float[Tensor, "v d"]:
        return self.model.token_vectors

    @property
    def special_tokens(self) -> frozenset[int]:
        return self.model.special_tokens

    def tokens(self, prompts: Sequence[str]) -> Int64[Tensor, "b n"]:
        return self.model.tokens(prompts)

    def texts(self, tokens: Int64[Tensor, "b n"]) -> list[str]:
        return self.model.texts(tokens)

    def read_vectors(
        self, vectors: Float[Tensor, "b n d"], tokens: Int64[Tensor, "b n"]
    ) -> Float[Tensor, "b d"]:
        return self.model.read_vectors(vectors, tokens)


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()  # kernels run asynchronously; wait, or their time is not measured
    return time.perf_counter()
