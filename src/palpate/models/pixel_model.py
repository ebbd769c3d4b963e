"""The base class of all models, which map images in [0, 1] and prompts to logits."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, TypeAlias, TypeVar, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from palpate.models.preprocessing import Preprocessing
from palpate.types import Images, Logits

_Prompts = TypeVar("_Prompts", bound=Sequence[str] | Tensor)

Learns: TypeAlias = Literal["adapters", "decoder", "all", "nothing"]
LEARNS: tuple[Learns, ...] = get_args(Learns)


class PixelModel(nn.Module, ABC):
    """Base class of segmentation models that include their preprocessing.

    Images are RGB in [0, 1] at any size. Resizing and normalisation are part of the forward pass,
    so attacks work on pixel values. Logits have the size of the image.

    Attributes:
        net: The network. Checkpoints store its parameters under their names in ``net``.
        preprocessing: Resizing and normalisation.
        mean: Mean of each channel, ``(1, c, 1, 1)``, subtracted from the pixels. Not part of the
            state dict.
        std: Standard deviation of each channel, ``(1, c, 1, 1)``, by which the pixels are then
            divided. Not part of the state dict.
        threshold: Probability above which a pixel is foreground.
        name: Name, folder or file from which ``load_model`` loads the model.
        base_hash: Fingerprint of the weights that the model was loaded with.
        restored: Names in ``net`` of the tensors restored from a palpate checkpoint.
        started_from: Fingerprint of that checkpoint's weights.
        text_conditioned: Whether the output depends on the text prompt.
        wants_boxes: Whether the model is prompted with boxes. If so, it is called with
            ``boxes=[...]`` in addition, one :data:`palpate.types.Box` per image.
        fresh: Whether the weights are random, so that the model must be trained first.
        multiple: The sides of the network's input must be multiples of this, in pixels.
        sides: Whether the network has side outputs (deep supervision), see :meth:`side_maps`.
        tower: Substring of parameter names that identifies the pretrained image encoder.
        licence: Licence of the weights.
        origin: Description of where the weights come from.
    """

    net: nn.Module
    preprocessing: Preprocessing
    mean: Tensor
    std: Tensor
    threshold: float
    name: str
    base_hash: str
    restored: frozenset[str] = frozenset()
    started_from: str = ""
    text_conditioned: bool
    wants_boxes: bool = False
    fresh: bool
    sides: bool = False
    multiple: int = 1
    tower: str
    licence: str
    origin: str

    @abstractmethod
    def forward(self, images: Images, prompts: Sequence[str] | None = None) -> Logits:
        """Segment the object named by each image's prompt.

        Args:
            images: RGB images ``(b, 3, h, w)`` in [0, 1], of any size.
            prompts: One text per image; ignored by models without a text encoder.

        Returns:
            Logits ``(b, 1, h, w)`` at the size of the images, in float32.
        """

    def side_maps(
        self, images: Images, prompts: Sequence[str] | None = None, *, scale: float = 1.0
    ) -> Float[Tensor, "b maps h w"]:
        """Logits of all outputs of the network: side outputs, then the main output.

        Networks without side outputs return the main output only.

        Args:
            images: RGB images ``(b, 3, h, w)`` in [0, 1], of any size.
            prompts: One text per image.
            scale: Factor applied to the usual input size of the network.

        Returns:
            Logits ``(b, maps, h, w)`` at the size of the images.

        Raises:
            ValueError: If the network's input has a fixed size.
        """
        if scale != 1:
            raise ValueError(f"{self.name} cannot be trained at several scales, got {scale:g}.")
        logits: Tensor = self(images, prompts)
        return logits

    @property
    @abstractmethod
    def set_up(self) -> Mapping[str, Any]:
        """Adapter, options and seed that the model was loaded with, for a checkpoint's card."""

    @property
    def traits(self) -> Mapping[str, Any]:
        """Settings that change the output but are not part of the weights, by name."""
        return {"preprocessing": asdict(self.preprocessing)}

    @abstractmethod
    def learners(self, what: Learns) -> list[nn.Parameter]:
        """The parameters that :meth:`learn` makes trainable.

        Args:
            what: ``"adapters"``, ``"decoder"`` or ``"all"``, see :meth:`learn`.

        Raises:
            ValueError: If the model has no such part.
        """

    def learn(self, what: Learns) -> None:
        """Select the parameters to train; all others are frozen.

        Args:
            what: ``"adapters"``; ``"decoder"``: the decoder and any adapters; ``"all"``; or
                ``"nothing"``.

        Raises:
            ValueError: If the model has no such part.
        """
        if what not in LEARNS:
            raise ValueError(
                f"Expected what learns to be one of {', '.join(LEARNS)}, got {what!r}."
            )
        learning = [] if what == "nothing" else self.learners(what)
        self.net.requires_grad_(False)
        for parameter in learning:
            parameter.requires_grad_(True)

    def train(self, mode: bool = True) -> "PixelModel":
        """Set training mode for trainable parts; frozen parts stay in evaluation mode.

        In training mode a frozen encoder would still update its batch statistics, and its dropout
        would change the features that the trained parts see. Call this again after :meth:`learn`.

        Args:
            mode: True for training mode; False sets evaluation mode everywhere.
        """
        super().train(mode)
        if mode:
            for part in self.children():
                _freeze_modes(part)
        return self

    def __repr__(self) -> str:
        """A short summary; print ``model.net`` to see the layers."""
        total = sum(p.numel() for p in self.net.parameters())
        trained = sum(p.numel() for p in self.net.parameters() if p.requires_grad)
        asked = ["text"] * self.text_conditioned + ["boxes"] * self.wants_boxes
        lines = [
            f"{type(self).__name__}({self.name!r}",
            f"input: {self.input_text}; prompts: {' and '.join(asked) or 'ignored'}",
            f"parameters: {total:,}, {trained:,} trainable; adapter: {self.set_up.get('adapter')}",
            f"threshold: {self.threshold:g}; device: {self.device}",
        ]
        return "\n  ".join(lines) + ")"

    @property
    def input_text(self) -> str:
        """Description of the network's input size, such as ``352 x 352``."""
        size = self.preprocessing.size
        if size is not None:
            return f"{size} x {size}"
        return "as it is" if self.multiple == 1 else f"as it is, multiples of {self.multiple}"

    @property
    def reads_any_text(self) -> bool:
        """Whether any text is a valid prompt, not only the names of known classes."""
        return self.text_conditioned

    @property
    def threshold_logit(self) -> float:
        """Logit above which a pixel is foreground; 0 for a probability threshold of 0.5."""
        return math.log(self.threshold / (1 - self.threshold))

    @property
    def device(self) -> torch.device:
        """Device of the model; images must be on the same device."""
        return self.mean.device


def _freeze_modes(part: nn.Module) -> None:
    """Set evaluation mode for every module whose parameters are all frozen.

    A module without parameters, such as dropout, gets the mode of its parent. If a frozen layer
    contains trainable modules, such as adapters, these stay in training mode.
    """
    whole, own = list(part.parameters()), list(part.parameters(recurse=False))
    if whole and not any(p.requires_grad for p in whole):
        part.eval()
        return
    if own and not any(p.requires_grad for p in own):
        part.training = False
    for child in part.children():
        _freeze_modes(child)


def check_threshold(threshold: float) -> float:
    """Check that a threshold lies strictly between 0 and 1, and return it.

    Raises:
        ValueError: If it does not.
    """
    if not isinstance(threshold, int | float) or not 0 < threshold < 1:
        raise ValueError(f"Expected a threshold between 0 and 1, got {threshold!r}.")
    return threshold


def one_prompt_each(prompts: _Prompts | None, images: int) -> _Prompts:
    """Check that there is one prompt (or row of tokens) per image, and return the prompts.

    Raises:
        ValueError: If there is not. A single string is also refused, since Python would read it
            as one prompt per character.
    """
    if prompts is None or isinstance(prompts, str) or len(prompts) != images:
        given = "none" if prompts is None else repr(prompts)[:80]
        raise ValueError(f"Expected a list of {images} prompts, one per image, got {given}.")
    return prompts
