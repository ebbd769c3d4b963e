"""The interface of every model: images in [0, 1] and prompts in, logits out."""

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
    """A segmentation model in pixel space, as training, attacks and evaluation use it.

    Images are RGB in [0, 1] at any size. The model resizes and normalises them itself, and its
    logits have the size of the image.

    Attributes:
        net: The network. Its parameters are trained, and saved under their names in it.
        preprocessing: Resizing and normalisation.
        mean: Subtracted from each channel, ``(1, c, 1, 1)``; each is then divided by ``std``. Not
            part of the state dict.
        threshold: A pixel is foreground where its probability exceeds this.
        name: Where the weights came from; ``load_model`` finds the model again by it.
        base_hash: Fingerprint of the weights it was loaded with.
        restored: Names in ``net`` of the tensors that came from a checkpoint of palpate.
        started_from: Fingerprint of that checkpoint's weights.
        text_conditioned: Whether the output depends on the prompt.
        wants_boxes: Whether it is prompted with boxes: then, and only then, it is also called with
            ``boxes=[...]``, one :data:`palpate.types.Box` per image.
        fresh: Whether the weights are random, so that the model has to be trained first.
        multiple: The sides of the network's input must be multiples of this, in pixels.
        sides: Whether the network has side outputs (deep supervision), see :meth:`side_maps`.
        tower: Part of the parameter names by which the pretrained image encoder is recognised.
        licence: Of the weights, in words.
        origin: Where the weights come from, in words.
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
        """Segment what the prompt of each image names.

        Args:
            images: RGB in [0, 1], of any size.
            prompts: One text per image; models without text ignore them.

        Returns:
            Logits ``(b, 1, h, w)`` at the size of the images, in float32.
        """

    def side_maps(
        self, images: Images, prompts: Sequence[str] | None = None, *, scale: float = 1.0
    ) -> Float[Tensor, "b maps h w"]:
        """Logits of every output of the network, the main one last; most networks have only that.

        Args:
            images: RGB in [0, 1], of any size.
            prompts: One text per image.
            scale: Factor by which the network's input is larger than usual.

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
        """Adapter, options and seed it was loaded with, as fields of a checkpoint's card."""

    @property
    def traits(self) -> Mapping[str, Any]:
        """Settings that change the output and are not in the weights, as plain values by name."""
        return {"preprocessing": asdict(self.preprocessing)}

    @abstractmethod
    def learners(self, what: Learns) -> list[nn.Parameter]:
        """The parameters that :meth:`learn` would train.

        Args:
            what: As in :meth:`learn`, except ``"nothing"``.

        Raises:
            ValueError: If the model has no such part.
        """

    def learn(self, what: Learns) -> None:
        """Make these parameters, and no others, require gradient.

        Args:
            what: ``"adapters"``; ``"decoder"``: the decoder, and adapters if there are any;
                ``"all"``; or ``"nothing"``.

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
        """Set training mode for the parts that are trained; frozen parts stay in evaluation mode.

        In training mode, a frozen encoder would still update its batch statistics, and its dropout
        would give the trained parts other features than at inference. Call this again after
        :meth:`learn`.

        Args:
            mode: False sets evaluation mode everywhere.
        """
        super().train(mode)
        if mode:
            for part in self.children():
                _freeze_modes(part)
        return self

    def __repr__(self) -> str:
        """A summary of a few lines; ``model.net`` shows the layers."""
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
        """Size of the network's input in words."""
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
        """A pixel is foreground where its logit exceeds this; 0 for a threshold of 0.5."""
        return math.log(self.threshold / (1 - self.threshold))

    @property
    def device(self) -> torch.device:
        """The device of the weights; images must be on it."""
        return self.mean.device


def _freeze_modes(part: nn.Module) -> None:
    """Set evaluation mode for every module whose parameters are all frozen.

    A module without parameters, such as dropout, follows the module it is in. A frozen layer with
    trained modules inside, such as adapters, is set alone, without these.
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
    """The threshold, if it lies strictly between 0 and 1.

    Raises:
        ValueError: If it does not.
    """
    if not isinstance(threshold, int | float) or not 0 < threshold < 1:
        raise ValueError(f"Expected a threshold between 0 and 1, got {threshold!r}.")
    return threshold


def one_prompt_each(prompts: _Prompts | None, images: int) -> _Prompts:
    """The prompts (or their tokens), if there is one per image.

    Raises:
        ValueError: If there is not. A single string is refused too: it would count as one prompt
            per letter.
    """
    if prompts is None or isinstance(prompts, str) or len(prompts) != images:
        given = "none" if prompts is None else repr(prompts)[:80]
        raise ValueError(f"Expected a list of {images} prompts, one per image, got {given}.")
    return prompts
