"""Convert the output of any network to one logit per pixel; output_checks.py checks it before."""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from palpate.models.pixel_model import one_prompt_each
from palpate.models.wrap.output_checks import OUTS, Out, add_up_to_one
from palpate.types import Logits

# Lower bound of probabilities before the logit. The derivative of the logit there is 1e30, which
# leaves room below the float32 maximum (3e38) for the factors of a loss.
_LEAST = 1e-30
# Magnitude of the logit of a label; beyond 16.6, a float32 sigmoid is exactly 0 or 1.
_LABEL = 20.0


class SaturationWarning(RuntimeWarning):
    """Warns of probabilities that are exactly 0 or 1, where the sigmoid's gradient is zero."""


@dataclass(frozen=True)
class Reading:
    """Describes the output of a network and converts it to logits.

    Attributes:
        out: Type of the output: ``"logits"``; ``"probabilities"`` in [0, 1]; or ``"classes"``,
            which are scores of mutually exclusive classes before the softmax, or integer labels
            (which have no gradient).
        classes: Channel index of each class by name; the prompt selects the class. None if there
            is a single channel, or two channels for background and foreground (``"classes"``, or
            probabilities that add up to 1).
        answer: Index or key of the segmentation, if the network returns a list, tuple or
            dictionary.
        stride: Downsampling factor of the output: input pixels per output pixel.
    """

    out: Out = "logits"
    classes: Mapping[str, int] | None = None
    answer: int | str | None = None
    stride: int = 1

    def __post_init__(self) -> None:
        if self.out not in OUTS:
            raise ValueError(f"Expected out to be one of {', '.join(OUTS)}, got {self.out!r}.")
        if not isinstance(self.stride, Integral) or self.stride < 1:
            raise ValueError(f"Expected a whole stride >= 1, got {self.stride!r}.")
        if self.classes is not None and not _are_classes(self.classes):
            raise ValueError(
                "Expected classes by name and the channel of each, 0 the first, such as "
                f"{{'polyp': 1}} (in YAML with a space behind the colon), got {self.classes!r}."
            )

    def maps(self, returned: object) -> list[Tensor]:
        """Collect all maps from the network's output, with the segmentation last.

        Args:
            returned: The output of the network, of any type.

        Raises:
            ValueError: If an element is not a tensor, or there is no element ``answer``.
        """
        if self.answer is None:
            return [_tensor(returned, "Name the element that is the answer with answer=...")]
        answer, others = _pick(returned, self.answer)
        named = f"Element {self.answer!r} is none."
        return [_tensor(each, named) for each in (*others, answer)]

    def logits(self, values: Tensor, wanted: Sequence[int] | None) -> Logits:
        """Convert checked values to one logit per pixel.

        Args:
            values: Scores ``(b, channels, h, w)``, or labels ``(b, 1, h, w)``.
            wanted: Channel selected by each image's prompt; None without classes.

        Returns:
            Logits ``(b, 1, h, w)``.

        Raises:
            ValueError: If the channels do not fit ``out`` and ``classes``.
        """
        if not values.is_floating_point():
            return _of_labels(values, wanted)
        values = values.float()
        if wanted is None and self._are_background_and_foreground(values):
            wanted = [1] * len(values)  # channel 1 is the foreground
        if wanted is None and values.shape[1] != 1:
            exclusive = "; of classes that exclude each other say out='classes', too"
            raise ValueError(
                f"Expected one channel, or classes=... to say which is what, got "
                f"{values.shape[1]} channels{exclusive if self.out == 'logits' else ''}. On the "
                "command line, with the names of yours: --model.options out classes classes "
                '"{liver: 1, tumour: 2}", in palpate evaluate and models check --options out '
                'classes classes "{liver: 1, tumour: 2}"; the prompt then names the class.'
            )
        channels = torch.tensor(wanted or [0] * len(values), device=values.device)
        _check_channels(channels, values.shape[1])
        if self.out == "classes":
            return _against_the_others(values, channels)
        chosen = values[torch.arange(len(values), device=values.device), channels][:, None]
        return chosen if self.out == "logits" else _of_probabilities(chosen)

    def channels(self, prompts: Sequence[str] | None, images: int) -> list[int] | None:
        """Find the channel of the class named in each prompt; None without classes.

        Args:
            prompts: One text per image.
            images: Number of images.

        Raises:
            ValueError: If there is not one prompt per image, or a prompt names no class or several
                classes.
        """
        if self.classes is None:
            return None
        prompts = one_prompt_each(prompts, images)
        by_prompt = {prompt: _named(prompt, self.classes) for prompt in dict.fromkeys(prompts)}
        return [by_prompt[prompt] for prompt in prompts]

    def _are_background_and_foreground(self, values: Tensor) -> bool:
        if values.shape[1] != 2:
            return False
        return self.out == "classes" or (self.out == "probabilities" and add_up_to_one(values))


def _are_classes(given: object) -> bool:
    """Whether this is a nonempty mapping from class names to channel indices."""
    return (
        isinstance(given, Mapping)
        and bool(given)
        and all(isinstance(name, str) and name.strip() for name in given)
        and all(isinstance(channel, Integral) and int(channel) >= 0 for channel in given.values())
    )


def _pick(returned: object, answer: int | str) -> tuple[object, list[object]]:
    if isinstance(returned, Mapping) and answer in returned:
        return returned[answer], []
    if (
        isinstance(returned, list | tuple)
        and isinstance(answer, int)
        and -len(returned) <= answer < len(returned)
    ):
        place = answer % len(returned)
        return returned[place], [*returned[:place], *returned[place + 1 :]]
    has = list(returned) if isinstance(returned, Mapping) else _kind(returned)
    raise ValueError(f"Expected an output with an element {answer!r}, got {has}.")


def _tensor(value: object, hint: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise ValueError(f"Expected a network that returns a tensor, got {_kind(value)}. {hint}")
    return value


def _kind(value: object) -> str:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    if isinstance(value, Mapping):
        return f"a {kind} with {', '.join(map(repr, value))}"
    return f"a {kind} of {len(value)}" if isinstance(value, list | tuple) else f"a {kind}"


def _check_channels(channels: Int64[Tensor, " b"], count: int) -> None:
    if int(channels.max()) >= count or int(channels.min()) < 0:
        raise ValueError(
            f"Expected classes among the {count} channels of the answer, 0 the first, got "
            f"{sorted(set(channels.tolist()))}."
        )


def _against_the_others(scores: Float[Tensor, "b k h w"], channels: Int64[Tensor, " b"]) -> Logits:
    """Logit of a class's softmax probability.

    Computed from the scores and not from the probability, which would lose precision near 0 and 1.
    """
    if scores.shape[1] == 1:
        raise ValueError("Expected scores of two classes or more, got one channel.")
    own = channels.view(-1, 1, 1, 1).expand(-1, 1, *scores.shape[2:])
    others = scores.scatter(1, own, -torch.inf)
    return scores.gather(1, own) - others.logsumexp(1, keepdim=True)


def _of_probabilities(probabilities: Logits) -> Logits:
    """Convert probabilities to finite logits, and warn of saturated ones.

    Probabilities of 1 are lowered by half a rounding step, those near 0 are raised to 1e-30. The
    gradient is that of the changed value; a clamp would set it to zero. If the network computed a
    saturated probability with a sigmoid, the gradient of that sigmoid is still zero, hence the
    warning.
    """
    saturated = ((probabilities == 0) | (probabilities == 1)).float().mean().item()
    if saturated > 0:
        warnings.warn(
            f"{100 * saturated:.3g} % of the probabilities are exactly 0 or 1. No gradient may "
            "come through there, which looks like robustness; let the network return its logits.",
            SaturationWarning,
            stacklevel=2,
        )
    info = torch.finfo(probabilities.dtype)
    # Straight-through: the clamped value in the forward pass, the identity in the backward pass.
    inside = probabilities.detach().clamp(_LEAST, 1 - info.eps / 2)
    p = probabilities + (inside - probabilities.detach())
    return p.log() - (-p).log1p()


def _of_labels(labels: Tensor, wanted: Sequence[int] | None) -> Logits:
    if labels.shape[1] != 1:
        raise ValueError(
            f"Expected labels in one channel, the number of a class at each pixel, got "
            f"{labels.shape[1]} channels of {labels.dtype}; masks of several classes are "
            "probabilities, and floating-point numbers."
        )
    if wanted is None and ((labels != 0) & (labels != 1)).any():
        found = sorted(set(labels.flatten().tolist()))
        raise ValueError(
            f"Expected labels 0 and 1, or classes=... to say which is what, got "
            f"{', '.join(map(str, found[:10]))}."
        )
    channels = torch.tensor(wanted or [1] * len(labels), device=labels.device).view(-1, 1, 1, 1)
    return torch.where(labels == channels, _LABEL, -_LABEL)


def _named(prompt: str, classes: Mapping[str, int]) -> int:
    """Find the channel of the class whose name occurs in a prompt as whole words.

    Longer names are matched first, so that a name inside a longer one does not count.
    """
    left, found = prompt.lower(), dict[int, str]()
    for name in sorted(classes, key=len, reverse=True):
        # Not \b, which requires a word character on one side: a name may end in another (HER2+).
        left, times = re.subn(rf"(?<!\w){re.escape(name.lower())}(?!\w)", "|", left)
        if times:
            found.setdefault(classes[name], name)
    if len(found) != 1:
        got = " and ".join(map(repr, found.values())) or "none"
        raise ValueError(
            f"Expected a prompt that names one of the classes {', '.join(classes)}, got {got} in "
            f"{prompt!r}."
        )
    return next(iter(found))
