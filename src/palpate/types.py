"""The vocabulary of shapes shared by every module.

Axes: ``b`` batch, ``c`` image channels, ``h`` and ``w`` pixels.
"""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from jaxtyping import Bool, Float
from torch import Generator, Tensor

Images: TypeAlias = Float[Tensor, "b c h w"]  # pixel values in [0, 1]
Logits: TypeAlias = Float[Tensor, "b 1 h w"]  # above the model's threshold means foreground
Masks: TypeAlias = Bool[Tensor, "b 1 h w"]
PerImage: TypeAlias = Float[Tensor, " b"]

Norm: TypeAlias = Literal["l2", "linf"]
LogitsFn: TypeAlias = Callable[[Tensor], Tensor]  # Images -> Logits, prompts already bound
Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # (Logits, Masks) -> PerImage
Attack: TypeAlias = Callable[..., Tensor]  # (LogitsFn, Images, Masks, ...) -> Images

# One generator for the whole batch, or one per image: then an image gets the same random
# numbers whatever batch it is in.
Randomness: TypeAlias = Generator | Sequence[Generator] | None


@runtime_checkable
class Segmenter(Protocol):
    """A vision-language model: where in each image is what its prompt names?"""

    def __call__(self, images: Images, prompts: Sequence[str]) -> Logits: ...
