"""Shared types of tensors, models, losses and attacks.

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

# Left, top, right and bottom edge as fractions of the image's width and height, 0 to 1, so that
# resizing the image does not change the box.
Box: TypeAlias = tuple[float, float, float, float]

Norm: TypeAlias = Literal["l2", "linf"]
LogitsFn: TypeAlias = Callable[[Tensor], Tensor]  # Images -> Logits, prompts already bound
Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # (Logits, Masks) -> PerImage
Attack: TypeAlias = Callable[..., Tensor]  # (LogitsFn, Images, Masks, ...) -> Images


@runtime_checkable
class ScheduledLoss(Protocol):
    """A loss with separate values for the gradient and for comparing points.

    For losses that change during the attack, that decrease when a pixel changes its class, or that
    differ between targeted and untargeted attacks. Attacks follow the gradient of :meth:`at`.
    Calling the loss directly gives a value that does not depend on the step, so that points of
    different steps can be compared. Attacks that do not support schedules maximise this value.
    """

    def __call__(self, logits: Tensor, masks: Tensor) -> Tensor: ...

    def at(self, progress: float, *, targeted: bool = False) -> Loss:
        """The loss to maximise (targeted: minimise) at one step of the attack.

        Args:
            progress: Fraction of the steps that are done: 0 before the first, 1 after the last.
            targeted: Whether the masks are the attacker's target instead of the ground truth.
        """
        ...


# One generator for the whole batch; one per image, which makes the random numbers of an image
# independent of its batch; or None for torch's global generator.
Randomness: TypeAlias = Generator | Sequence[Generator] | None


@runtime_checkable
class Segmenter(Protocol):
    """A vision-language segmentation model.

    It may declare properties by attributes:

    - ``threshold_logit``: a pixel is foreground if its logit exceeds this value; 0 by default.
    - ``wants_boxes = True``: the model is also called with ``boxes=[...]``, one :data:`Box` of the
      true mask per image. Other models are not given boxes.
    - ``is_random = True``: calls with the same image may give different logits.
    - ``is_differentiable = False``: some stage has no gradient or a surrogate gradient.

    The sanity card fails a model that is random or not differentiable without declaring it.
    """

    def __call__(self, images: Images, prompts: Sequence[str]) -> Logits: ...
