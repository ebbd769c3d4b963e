"""Gradients for models that have none of use: a rounded, compressed or random stage in front."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Generator, Tensor, nn

from palpate.attacks.core.draws import generators_per_image
from palpate.attacks.core.selection import boxes_of, prompts_of, restrict
from palpate.prompting import wants_boxes
from palpate.types import Box, Images, Logits, LogitsFn, Randomness
from palpate.user_code import text_of

StandIn: TypeAlias = Literal["identity", "smooth"] | Callable[[Images], Images]
RandomStage: TypeAlias = Callable[[Images, list[Generator]], Images]


def bpda(
    stage: Callable[[Images], Images], model: Callable[..., Logits], surrogate: StandIn = "identity"
) -> "Staged":
    """A model behind a stage, attackable through it (Athalye et al., 2018).

    Backward pass differentiable approximation, https://arxiv.org/abs/1802.00420: forwards the
    stage itself, to the last bit, backwards the gradient of a surrogate for it.

    The result is called like ``model``, with prompts if it takes any; so it can be attacked
    with prompts bound, and evaluated in place of the model: its answers are those of the real
    stage.

    Args:
        stage: Maps images to images of the same size; nothing has to be differentiable.
        model: What sees its output.
        surrogate: Nearly the stage, with a useful gradient: ``"identity"``, ``"smooth"`` for the
            stage's own (:class:`palpate.attacks.bpda.stages.Stage`), or a function of images.

    Raises:
        ValueError: If the surrogate is unknown, or the stage has no smooth one.
    """
    return Staged(stage, model, _stand_in(stage, surrogate))


class Staged(nn.Module):
    """What :func:`bpda` makes."""

    is_differentiable = False  # but for the surrogate; the sanity card wants to know

    def __init__(
        self,
        stage: Callable[[Images], Images],
        model: Callable[..., Logits],
        stand_in: Callable[[Images], Images],
    ) -> None:
        super().__init__()
        self.stage, self.model, self.stand_in = stage, model, stand_in
        self.threshold_logit = float(getattr(model, "threshold_logit", 0.0))
        self.wants_boxes = wants_boxes(model)
        # So that whoever hashes the weights tells one stage in front of them from another.
        named = torch.tensor(list(text_of(stage).encode()), dtype=torch.uint8)
        self.register_buffer("stage_name", named)

    def forward(self, images: Images, **prompts: Any) -> Logits:
        with torch.no_grad():
            real = self.stage(images)
        if real.shape != images.shape:
            raise ValueError(
                f"Expected a stage that keeps the shape of images, {tuple(images.shape)}, got "
                f"{tuple(real.shape)}."
            )
        if images.requires_grad and torch.is_grad_enabled():
            real = _Through.apply(self.stand_in(images), real)  # type: ignore[no-untyped-call]
        return self.model(real, **prompts)


def eot(
    model: LogitsFn,
    samples: int,
    stage: RandomStage | None = None,
    *,
    generator: Randomness = None,
    images: int | None = None,
) -> LogitsFn:
    """The mean logits of a random model over several draws (Athalye et al., 2018).

    Expectation over transformation, https://arxiv.org/abs/1707.07397, for any attack. Draws are
    new at every call. The gradient is that of the loss of the mean logits; for a loss linear in
    the logits, as :func:`~palpate.attacks.losses.margin`, that is the mean of the gradients of
    all draws, and for the others it attacks what the draws agree in.

    Args:
        model: Maps images to logits, prompts bound.
        samples: Draws per call.
        stage: What is random in front of the model: called with images and one generator per
            image. None: the model itself is random, and its random numbers are its own business;
            they then depend on the batch.
        generator: One per image, and then an image gets the same random numbers whatever batch it
            is in; or one, from which they are seeded.
        images: How many images the model will be called with, where ``generator`` is no sequence;
            needed with a stage.

    Raises:
        ValueError: If there is nothing to average, or nobody says how many images there are.
    """
    if samples < 1:
        raise ValueError(f"Expected samples >= 1, got {samples}.")
    if stage is None:
        return _Mean(model, samples, count=images or 0)
    count = len(generator) if isinstance(generator, Sequence) else images
    if count is None:
        raise ValueError("Expected one generator per image, or images=..., their number, got none.")
    return _Mean(model, samples, stage, generators_per_image(generator, count), count)


class _Mean:
    """A random model's mean over draws, bound to one batch."""

    is_random = True

    def __init__(
        self,
        model: LogitsFn,
        samples: int,
        stage: RandomStage | None = None,
        generators: list[Generator] | None = None,
        count: int = 0,
    ) -> None:
        self.model, self.samples, self.stage = model, samples, stage
        self.generators = generators or []
        self._count = count  # of the images it is bound to; 0 while nobody has said

    @property
    def prompts(self) -> Sequence[str] | None:
        """Those bound to the model, see :func:`palpate.attacks.core.selection.prompts_of`."""
        return prompts_of(self.model)

    @property
    def boxes(self) -> Sequence[Box] | None:
        """Those bound to the model."""
        return boxes_of(self.model)

    def __call__(self, images: Images) -> Logits:
        self._count = len(images)
        logits = self._draw(images)
        for _ in range(self.samples - 1):
            logits = logits + self._draw(images)
        return logits / self.samples

    def for_images(self, rows: Sequence[int]) -> "_Mean":
        # Before its first call the prompts tell how many images there are.
        model = restrict(self.model, rows, self._count or len(self.prompts or ()))
        chosen = [self.generators[row] for row in rows] if self.stage else []
        return _Mean(model, self.samples, self.stage, chosen, len(rows))

    def _draw(self, images: Images) -> Logits:
        if self.stage is None:
            return self.model(images)
        if len(images) != len(self.generators):
            raise ValueError(
                f"Expected {len(self.generators)} images, one a generator, got {len(images)}."
            )
        return self.model(self.stage(images, self.generators))


class _Through(torch.autograd.Function):
    """The value of one tensor with the gradient of another."""

    @staticmethod
    def forward(ctx: Any, stand_in: Tensor, real: Tensor) -> Tensor:
        del ctx, stand_in
        return real.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        del ctx
        return gradients[0], None


def _stand_in(stage: object, surrogate: StandIn) -> Callable[[Images], Images]:
    if surrogate == "identity":
        return _same
    if callable(surrogate):
        return surrogate
    smooth: Callable[[Images], Images] | None = getattr(stage, "smooth", None)
    if surrogate != "smooth":
        raise ValueError(f"Expected surrogate 'identity', 'smooth' or a function: {surrogate!r}.")
    if smooth is None:
        raise ValueError(f"Expected a stage with a method smooth, got {stage!r}.")
    return smooth


def _same(images: Images) -> Images:
    return images
