"""Types of tensors and functions that all modules share.

Axes: ``b`` batch, ``c`` image channels, ``h`` and ``w`` pixels.
"""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from jaxtyping import Bool, Float
from torch import Generator, Tensor

Images: TypeAlias = Float[Tensor, "b c h w"]  # pixel values in [0, 1]
Logits: TypeAlias = Float[Tensor, "b 1 h w"]  # above the model's threshold means foreground
Maps: TypeAlias = Float[Tensor, "b maps h w"]  # logits of side maps, the final output last
Masks: TypeAlias = Bool[Tensor, "b 1 h w"]
PerImage: TypeAlias = Float[Tensor, " b"]

# Left, top, right and bottom edge as shares of the image's width and height, 0 to 1: a box stays
# the same when the image is resized.
Box: TypeAlias = tuple[float, float, float, float]

Norm: TypeAlias = Literal["l2", "linf"]
LogitsFn: TypeAlias = Callable[[Tensor], Tensor]  # Images -> Logits, prompts already bound
Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # (Logits, Masks) -> PerImage
Attack: TypeAlias = Callable[..., Tensor]  # (LogitsFn, Images, Masks, ...) -> Images


@runtime_checkable
class ScheduledLoss(Protocol):
    """A loss with separate values for the gradient and for comparing points.

    For losses that change during the attack, that fall when a pixel changes its class, or that
    differ between targeted and untargeted attacks. Attacks follow the gradient of :meth:`at`.
    Called like any other loss, it gives a value that does not depend on the step, so that points
    of different steps can be compared. An attack that does not know :meth:`at` maximises that
    value.
    """

    def __call__(self, logits: Tensor, masks: Tensor) -> Tensor: ...

    def at(self, progress: float, *, targeted: bool = False) -> Loss:
        """The loss to maximise, or with a target to minimise, at one step of the attack.

        Args:
            progress: Fraction of the steps that are done: 0 before the first, 1 after the last.
            targeted: Whether the masks are the attacker's target instead of the ground truth.
        """
        ...


# One generator for the whole batch, or one per image: then an image gets the same random
# numbers whatever batch it is in.
Randomness: TypeAlias = Generator | Sequence[Generator] | None


@runtime_checkable
class Segmenter(Protocol):
    """A vision-language segmentation model.

    It may declare more by attributes. ``threshold_logit``: a pixel is foreground where its logit
    exceeds this; 0 by default. ``wants_boxes = True``: it is also called with ``boxes=[...]``, one
    :data:`Box` of the true mask per image; no other model is given boxes. ``is_random = True``: the
    same image may get another answer. ``is_differentiable = False``: some stage has no gradient, or
    a substitute for one. The sanity card fails a model that is random or not differentiable and
    does not declare it.
    """

    def __call__(self, images: Images, prompts: Sequence[str]) -> Logits: ...
