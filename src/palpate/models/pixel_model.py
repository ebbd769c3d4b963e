"""What ``load_model`` returns, whatever the family: pixels and prompts in, logits out."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from palpate.models.preprocessing import Preprocessing
from palpate.types import Images, Logits

Learns: TypeAlias = Literal["adapters", "decoder", "all", "nothing"]
LEARNS: tuple[Learns, ...] = get_args(Learns)


class PixelModel(nn.Module, ABC):
    """A segmentation model in pixel space: all that training, attacks and evaluation ask of one.

    Images are RGB in [0, 1] at whatever size they come, normalisation and resizing happen inside,
    and logits have the size of the image.

    Attributes:
        net: The network, whose parameters are trained and saved by their names in it.
        preprocessing: Resizing and normalisation.
        mean: What is subtracted from each channel, and ``std`` what each is divided by,
            ``(1, c, 1, 1)``; not part of the state dict.
        threshold: A pixel is foreground where its probability exceeds this.
        name: Where the weights came from; ``load_model`` finds the model again by it.
        base_hash: Fingerprint of the weights it was loaded with.
        restored: Names in ``net`` of what came from a checkpoint of palpate, if it did.
        started_from: Fingerprint of that checkpoint's weights.
        text_conditioned: Whether the prompt decides what is segmented.
        wants_boxes: Whether it is asked with the box that a :class:`palpate.data.Prompt` has.
        fresh: Whether the weights are random, so that nothing can be said of it before training.
        multiple: Of which the sides of the network's input are.
        sides: Whether the network makes other maps beside its answer, see :meth:`side_maps`.
        tower: What the names of the pretrained image tower's parameters have in them.
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
        """Where in each image is what its prompt names?

        Args:
            images: RGB in [0, 1], of any size.
            prompts: One text per image; models without text take and ignore them.

        Returns:
            Logits ``(b, 1, h, w)`` at the size of the images, in float32.
        """

    def side_maps(
        self, images: Images, prompts: Sequence[str] | None = None, *, scale: float = 1.0
    ) -> Float[Tensor, "b maps h w"]:
        """Logits of every map that the network makes, the answer last; most make only that.

        Args:
            images: RGB in [0, 1], of any size.
            prompts: One text per image.
            scale: How much larger than usual the network's input shall be.

        Raises:
            ValueError: If the network's input has one size only.
        """
        if scale != 1:
            raise ValueError(f"{self.name} cannot be trained at several scales, got {scale:g}.")
        logits: Tensor = self(images, prompts)
        return logits

    @property
    @abstractmethod
    def set_up(self) -> Mapping[str, Any]:
        """What was made of the loaded model, as fields of a checkpoint's card."""

    @property
    def traits(self) -> Mapping[str, Any]:
        """What decides its answers and is in no tensor, as plain values by name."""
        return {"preprocessing": asdict(self.preprocessing)}

    @abstractmethod
    def learners(self, what: Learns) -> list[nn.Parameter]:
        """The parameters that ``learn`` speaks of.

        Raises:
            ValueError: If the model has no such part.
        """

    def learn(self, what: Learns) -> None:
        """Let these parameters, and no others, require gradient.

        Args:
            what: ``"adapters"``; ``"decoder"``: it and adapters, where there are any; ``"all"``;
                or ``"nothing"``.

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
        """Go into training mode, but for what does not learn: that stays in evaluation mode.

        Batch statistics of a frozen encoder would change all the same, and its dropout would make
        what learns see another encoder at every step than the one it is used with. Whoever changes
        what learns (:meth:`learn`) calls this again.

        Args:
            mode: False for evaluation mode, in which everything is.
        """
        super().train(mode)
        if mode:
            for part in self.children():
                _rest(part)
        return self

    @property
    def reads_any_text(self) -> bool:
        """Whether any text may be asked, and not only names that it knows."""
        return self.text_conditioned

    @property
    def threshold_logit(self) -> float:
        """A pixel is foreground where its logit exceeds this; 0 for a threshold of one half."""
        return math.log(self.threshold / (1 - self.threshold))

    @property
    def device(self) -> torch.device:
        """Where the weights are, and images have to be."""
        return self.mean.device


def _rest(part: nn.Module) -> None:
    """Put into evaluation mode whatever has parameters of which none requires gradient.

    What has none itself, such as dropout, goes with the part of the network that it is in. A frozen
    layer that learning ones were put into rests alone.
    """
    whole, own = list(part.parameters()), list(part.parameters(recurse=False))
    if whole and not any(p.requires_grad for p in whole):
        part.eval()
        return
    if own and not any(p.requires_grad for p in own):
        part.training = False
    for child in part.children():
        _rest(child)


def check_threshold(threshold: float) -> float:
    """The threshold, if it is a probability that can be exceeded and missed."""
    if not isinstance(threshold, int | float) or not 0 < threshold < 1:
        raise ValueError(f"Expected a threshold between 0 and 1, got {threshold!r}.")
    return threshold
