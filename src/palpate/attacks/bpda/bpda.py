"""BPDA and EOT: gradients through a rounding, compressing or random stage before a model."""

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
    """Put a preprocessing stage before a model and give it a surrogate gradient.

    Backward pass differentiable approximation (BPDA, Athalye et al., 2018,
    https://arxiv.org/abs/1802.00420): the forward pass uses the stage itself, bit for bit; the
    backward pass uses the gradient of a surrogate.

    The result is called like ``model``, including its prompts, and can be attacked and evaluated
    in its place. Its logits are those of the model behind the real stage.

    Args:
        stage: Maps images to images of the same size. It need not be differentiable.
        model: Maps the output of the stage to logits.
        surrogate: Differentiable approximation of the stage: ``"identity"``, ``"smooth"`` for the
            method ``smooth`` of the stage (:class:`palpate.attacks.bpda.stages.Stage`), or a
            function that maps images to images.

    Returns:
        A module that applies the stage and then the model.

    Raises:
        ValueError: If the surrogate is unknown, or is ``"smooth"`` and the stage has no such
            method.
    """
    return Staged(stage, model, _stand_in(stage, surrogate))


class Staged(nn.Module):
    """A model behind a preprocessing stage; made by :func:`bpda`."""

    # Its gradient is that of the surrogate, not of the stage; the sanity checks read this.
    is_differentiable = False

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
        # A buffer, so that a hash of the weights differs between stages.
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
    """Average the logits of a random model over several draws.

    Expectation over transformation (EOT, Athalye et al., 2018, https://arxiv.org/abs/1707.07397),
    for any attack. Every call draws anew. The gradient is that of the loss of the mean logits. For
    a loss that is linear in the logits, such as :func:`~palpate.attacks.losses.margin`, this equals
    the mean gradient over the draws; for other losses it does not.

    Args:
        model: Maps images to logits, prompts bound.
        samples: Draws per call, at least 1.
        stage: Random preprocessing, called with images and one generator per image. None if the
            model itself is random; it then draws its own random numbers, which may depend on the
            batch.
        generator: One generator per image, which makes the random numbers of an image independent
            of its batch; or one generator, from which those are seeded.
        images: Number of images per call. Needed with a stage if ``generator`` is not a sequence.

    Returns:
        A function that maps images to their mean logits.

    Raises:
        ValueError: If ``samples`` is below 1, or the number of images is unknown.
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
    """Mean logits of a random model over draws, for one batch."""

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
        self._count = count  # number of images in the batch; 0 if not yet known

    @property
    def prompts(self) -> Sequence[str] | None:
        """Prompts bound to the model, see :func:`palpate.attacks.core.selection.prompts_of`."""
        return prompts_of(self.model)

    @property
    def boxes(self) -> Sequence[Box] | None:
        """Boxes bound to the model."""
        return boxes_of(self.model)

    def __call__(self, images: Images) -> Logits:
        self._count = len(images)
        # A running sum keeps one set of logits in memory, not one per draw.
        logits = self._draw(images)
        for _ in range(self.samples - 1):
            logits = logits + self._draw(images)
        return logits / self.samples

    def for_images(self, rows: Sequence[int]) -> "_Mean":
        # Before the first call, the number of images is that of the prompts.
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
    """Returns the value of ``real`` and passes the gradient on to ``stand_in``."""

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
