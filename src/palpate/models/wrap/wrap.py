"""Wrap any network as a palpate model, which maps images in [0, 1] and prompts to logits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from palpate.models.files.weights import fingerprint
from palpate.models.pixel_model import Learns, PixelModel, check_threshold, one_prompt_each
from palpate.models.preprocessing import Preprocessing, enlarged, next_multiple, resized
from palpate.models.wrap.calling import Calling, Layout, as_function, as_plain
from palpate.models.wrap.output_checks import (
    Out,
    check_answer,
    check_differentiable,
    check_side,
)
from palpate.models.wrap.outputs import Reading
from palpate.types import Images, Logits
from palpate.user_code import lasting_name


def wrap(
    module: nn.Module | Callable[..., Any],
    input_size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    threshold: float = 0.5,
    out: Out = "logits",
    *,
    channels: int = 3,
    classes: Mapping[str, int] | None = None,
    answer: int | str | None = None,
    sides: bool = False,
    stride: int = 1,
    multiple: int = 1,
    prompted: bool = False,
    layout: Layout = "nchw",
    batch: int | None = None,
    call: Callable[..., Any] | str | None = None,
    name: str = "",
) -> "Wrapped":
    """Wrap a network as a palpate model that can be trained, attacked and evaluated.

    >>> network = nn.Conv2d(3, 1, 1)
    >>> _ = nn.init.ones_(network.weight)
    >>> model = wrap(network, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    >>> model(torch.rand(2, 3, 20, 30), prompts=["polyp", "polyp"]).shape
    torch.Size([2, 1, 20, 30])

    Args:
        module: The network, called with normalised images ``(b, channels, h, w)``, or as
            ``module(images, prompts)`` if ``prompted`` is True, or by ``call``. If it is a callable
            that is not an ``nn.Module``, its weights cannot be trained or compared.
        input_size: Side of the square that images are resized to, in pixels. By default images keep
            their size, see ``multiple``.
        mean: Mean of each channel, subtracted from the image in [0, 1]; 0 by default.
        std: Standard deviation of each channel, by which it is divided; 1 by default, so that the
            network gets pixel values in [0, 1].
        threshold: Probability above which a pixel is foreground.
        out: Type of the network's output: ``"logits"``, ``"probabilities"`` or ``"classes"``, see
            :class:`palpate.models.wrap.outputs.Reading`.
        channels: 3 for a network that reads RGB; 1 for one that reads grey images, which are made
            of the RGB image by its luma (ITU-R BT.601). Attacks still change the RGB pixels.
        classes: Channel index of each class by name, for an output with several channels. The
            prompt selects the class.
        answer: Index or key of the segmentation, if the network returns a list, tuple or
            dictionary.
        sides: Whether the other elements of the returned list are side outputs (deep supervision),
            which are trained and attacked as well.
        stride: Downsampling factor of the output: input pixels per output pixel.
        multiple: The sides of the network's input must be multiples of this, in pixels; other
            images are resized to the next multiple.
        prompted: Whether the network reads text. It is then called as ``module(images, prompts)``
            with a list of one text per image.
        layout: ``"nhwc"`` for a network whose input and output have their channels last.
        batch: Number of images per call of a network that accepts no other number.
        call: A function that calls the network, for any other input or output:
            ``call(module, images)``, or ``call(module, images, prompts)`` if ``prompted`` is True.
            It may pass a dictionary or further inputs, and returns what ``out`` describes. Text
            such as ``file.py:function`` names one.
        name: Name of the model in results; by default the name of the network's class.

    Returns:
        The model, with the mode (training or evaluation) and the trainable parameters of
        ``module``.

    Raises:
        ValueError: If an argument is not valid.
    """
    return Wrapped(
        module if isinstance(module, nn.Module) else _Called(module),
        Reading(out, classes, answer, stride),
        preprocessing_of(input_size, mean, std, channels),
        calling=Calling(channels, layout, batch, as_function(call)),
        threshold=threshold,
        multiple=multiple,
        sides=sides,
        prompted=prompted,
        name=name or _name_of(module),
    )


def preprocessing_of(
    size: int | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    channels: int,
) -> Preprocessing:
    """The preprocessing of a network with so many channels; by default pixel values in [0, 1].

    Raises:
        ValueError: If the numbers are not valid, or are not one per channel.
    """
    Calling(channels)
    chosen = (
        _of_channels((0.0,) * channels if mean is None else mean),
        _of_channels((1.0,) * channels if std is None else std),
    )
    made = Preprocessing(size, *chosen)
    if len(made.mean) != channels:
        raise ValueError(
            f"Expected mean and std of {channels} channels, got {made.mean} and {made.std}."
            f"{' For a network that reads grey images, set channels=1.' * (len(made.mean) == 1)}"
        )
    return made


class Wrapped(PixelModel):
    """A network from outside palpate, wrapped together with its preprocessing; see :func:`wrap`.

    Args:
        net: The network; its input is normalised images.
        reading: How to convert its output to logits.
        preprocessing: Resizing and normalisation; without a size, images keep their own.
        calling: How the network is called.
        threshold: Probability above which a pixel is foreground.
        multiple: The sides of the network's input must be multiples of this, in pixels.
        sides: Whether the network also returns side outputs.
        prompted: Whether the network is called with the prompts as well.
        tower: Substring of parameter names that identifies the pretrained image encoder.
        idle: Prefix of the names of parameters that are never used.
        name: Name of the model.
        options: Options that the network was created with, for the card of a checkpoint.
        seed: Seed of randomly initialised weights.
        fresh: Whether the weights are random.
        licence: Licence of the weights.
        origin: Description of where the weights come from.
    """

    gradientless: str = ""
    is_differentiable: bool | None = None

    def __init__(
        self,
        net: nn.Module,
        reading: Reading,
        preprocessing: Preprocessing,
        *,
        calling: Calling = Calling(),  # noqa: B008  # frozen
        threshold: float = 0.5,
        multiple: int = 1,
        sides: bool = False,
        prompted: bool = False,
        tower: str = "",
        idle: str = "",
        name: str = "",
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
        fresh: bool = False,
        licence: str = "not stated",
        origin: str = "",
    ) -> None:
        super().__init__()
        _check_sizes(preprocessing, multiple)
        if sides and reading.answer is None:
            raise ValueError(
                "Expected answer=... with sides: which element of the list is the answer, while "
                "the others are side maps."
            )
        self.net, self.reading, self.preprocessing = net, reading, preprocessing
        self.calling = calling
        self.threshold, self.multiple, self.sides = check_threshold(threshold), multiple, sides
        self.tower, self.idle, self.name, self.options = tower, idle, name, dict(options or {})
        self.fresh, self.licence, self.origin = fresh, licence, origin or name
        self.seed, self.prompted = seed, prompted
        self.text_conditioned = prompted or len(set((reading.classes or {}).values())) > 1
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, -1, 1, 1), False)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, -1, 1, 1), False)
        # The settings change the output, so they are hashed with the weights, as a buffer.
        made = f"{reading} {preprocessing} {multiple} {_name_of(net)}{' prompted' * prompted}"
        made += f" {calling.told}" * bool(calling.told)
        self.digest: Tensor
        self.register_buffer("digest", torch.tensor(list(sha256(made.encode()).digest())).byte())
        self.base_hash = fingerprint(self.state_dict())

    @property
    def set_up(self) -> Mapping[str, Any]:
        """Options and seed that the network was created with."""
        return {"options": self.options, "seed": self.seed}

    @property
    def traits(self) -> Mapping[str, Any]:
        """Preprocessing, and the settings that control the conversion of the output."""
        told = {"prompted": True} if self.prompted else {}
        read = {"reading": asdict(self.reading), "multiple": self.multiple}
        return {**super().traits, **read, **told, **self.calling.told}

    @property
    def reads_any_text(self) -> bool:
        """Whether any text is a valid prompt; with classes, a prompt must name one of them."""
        return self.prompted and self.reading.classes is None

    def learners(self, what: Learns) -> list[nn.Parameter]:
        """All parameters that are used, or those outside the image encoder."""
        if what == "adapters" or (what == "decoder" and not self.tower):
            raise ValueError(
                f"{self.name} has no {what} that could learn by itself; let all of it learn."
            )
        named = list(self.net.named_parameters())
        if what == "decoder":
            named = [(n, p) for n, p in named if self.tower not in n]
        return [p for n, p in named if not (self.idle and n.startswith(self.idle))]

    def forward(self, images: Images, prompts: Sequence[str] | None = None) -> Logits:
        """Segment the object named by each image's prompt.

        Args:
            images: RGB images ``(b, 3, h, w)`` in [0, 1], of any size.
            prompts: One text per image; ignored by networks without text or classes.

        Returns:
            Logits ``(b, 1, h, w)`` at the size of the images, in float32.

        Raises:
            ValueError: If the network raises an error, its output does not match the description
                given to :func:`wrap`, or a prompt does not name exactly one class.
            FloatingPointError: If the output is not finite.
            RuntimeError: If a gradient is needed and the output has none, the network changed its
                mode or added layers, or the network raises a RuntimeError.
        """
        (values,) = self._maps(images, prompts, 1.0)[-1:]
        logits = self.reading.logits(values, self.reading.channels(prompts, len(images)))
        return enlarged(logits, (images.shape[2], images.shape[3]))

    def side_maps(
        self, images: Images, prompts: Sequence[str] | None = None, *, scale: float = 1.0
    ) -> Float[Tensor, "b maps h w"]:
        """Logits of all outputs of the network: side outputs, then the main output.

        Args:
            images: RGB images ``(b, 3, h, w)`` in [0, 1], of any size.
            prompts: One text per image.
            scale: Factor applied to the usual input size of the network.

        Returns:
            Logits ``(b, maps, h, w)`` at the size of the images.

        Raises:
            ValueError, FloatingPointError, RuntimeError: As :meth:`forward`, for any of the
                outputs.
        """
        wanted = self.reading.channels(prompts, len(images))
        *others, answer = self._maps(images, prompts, scale)
        kind = self.reading.out
        sides = [check_side(each, len(images), kind) for each in others] if self.sides else []
        size = (images.shape[2], images.shape[3])
        logits = [self.reading.logits(each, wanted) for each in (*sides, answer)]
        return torch.cat([enlarged(each, size) for each in logits], dim=1)

    def input_size(self, height: int, width: int, scale: float = 1.0) -> tuple[int, int]:
        """Height and width of the network's input for an image of this size, in pixels.

        At scale 1, sides are rounded up to the next multiple. At other scales they are rounded to
        the nearest multiple, as in PraNet's training code: 0.75 times 352 (264) becomes 256.
        """
        side, multiple = self.preprocessing.size, self.multiple
        sides = (height, width) if side is None else (side, side)
        if scale == 1:
            return next_multiple(sides[0], multiple), next_multiple(sides[1], multiple)
        rows, columns = (max(1, round(length * scale / multiple)) for length in sides)
        return rows * multiple, columns * multiple

    def _maps(self, images: Images, prompts: Sequence[str] | None, scale: float) -> list[Tensor]:
        """Run the network and check its outputs; the main output comes last."""
        size = self.input_size(images.shape[2], images.shape[3], scale)
        pixels = (resized(self.calling.of_channels(images), size) - self.mean) / self.std
        texts = [list(one_prompt_each(prompts, len(images)))] if self.prompted else []
        returned = self._returned(pixels, *texts)
        maps = self.reading.maps(returned)
        out, stride = self.reading.out, self.reading.stride
        maps[-1] = check_answer(maps[-1], len(images), size, out, stride)
        learning = images.requires_grad or any(p.requires_grad for p in self.net.parameters())
        wanted = torch.is_grad_enabled() and learning
        check_differentiable(maps[-1], wanted, self.name, self.gradientless)
        return maps

    def _returned(self, pixels: Tensor, *texts: list[str]) -> object:
        """Call the network with normalised pixels, and with texts if it reads text."""
        returned = as_plain(self.calling.returned(self.net, self.name, pixels, *texts))
        if self.sides and isinstance(returned, Mapping):
            raise ValueError(
                f"Expected {self.name} to return a list or tuple of its answer and side maps, got "
                f"a dictionary with {', '.join(map(repr, returned))}, which does not say what are "
                "maps. Return a list, or leave sides out."
            )
        return returned


class _Called(nn.Module):
    """An ``nn.Module`` that calls a plain function or another callable."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        if not callable(function):
            raise ValueError(f"Expected a module or a callable, got a {type(function).__name__}.")
        self.function = function

    def forward(self, pixels: Tensor, *texts: list[str]) -> Any:
        return self.function(pixels, *texts)


def _name_of(module: object) -> str:
    """Qualified name of a function; for other objects, of their class."""
    thing = module.function if isinstance(module, _Called) else module
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{lasting_name(named.__module__)}.{getattr(named, '__qualname__', '')}"


def _of_channels(given: Sequence[float]) -> tuple[float, ...]:
    """Convert to a tuple with one number per channel; a single number raises an error."""
    try:
        return tuple(given)
    except TypeError:
        raise ValueError(
            f"Expected mean and std as a list, one number per channel, got {given!r}."
        ) from None


def _check_sizes(given: Preprocessing, multiple: int) -> None:
    if not isinstance(multiple, Integral) or multiple < 1:
        raise ValueError(f"Expected a whole multiple >= 1, got {multiple!r}.")
    if given.size is not None and given.size % multiple:
        raise ValueError(
            f"Expected an input_size that is a multiple of {multiple}, got {given.size}."
        )
