"""Declares metrics: a function of a batch, and how its values are to be interpreted."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from math import inf
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from palpate.errors import did_you_mean
from palpate.evaluation.metrics.boundary import Spacing, SurfaceDistances, surface_distances
from palpate.evaluation.metrics.maps import Curves, curves_of, grey_maps
from palpate.overlap import Counts, count, require_pairs
from palpate.types import Logits, Masks
from palpate.user_code import said

Direction: TypeAlias = Literal["higher", "lower"]
Values: TypeAlias = Float[Tensor, " b"]


@dataclass(frozen=True)
class MetricInputs:
    """A batch of predictions, with the inputs that metrics may use.

    A metric receives the attributes that its parameters name. Inputs shared by several metrics,
    such as the distances between outlines, are computed once, on first use.

    Attributes:
        predictions: Bool, shape ``(b, 1, h, w)``.
        masks: Ground truth, bool, same shape.
        logits: Logits from which ``predictions`` were computed, if available.
        threshold: Logit above which a pixel is foreground.
        truth: Ground truth with grey values in [0, 1]; None if there is only ``masks``.
        tolerance: Tolerance of the normalised surface Dice, in the unit of ``spacing``.
        spacing: Height and width of a pixel; None: distances in pixels.
        ignored: Pixels that must not count, same shape as ``masks``; None if all count. They are
            background in ``predictions`` and ``masks`` and missing in ``counts``, so that only
            metrics that count true negatives themselves have to look at them.
    """

    predictions: Masks
    masks: Masks
    logits: Logits | None = None
    threshold: float = 0.0
    truth: Float[Tensor, "b 1 h w"] | None = None
    tolerance: float = 2.0
    spacing: Spacing | None = None
    ignored: Masks | None = None

    def __post_init__(self) -> None:
        require_pairs(self.predictions, self.masks)

    @cached_property
    def counts(self) -> Counts:
        """True and false positives and negatives of each image."""
        counts = count(self.predictions, self.masks)
        if self.ignored is None:
            return counts
        return counts._replace(tn=counts.tn - self.ignored.flatten(1).sum(1))

    @cached_property
    def surface_distances(self) -> list[SurfaceDistances]:
        """Distances between the outlines of each image's prediction and mask."""
        return surface_distances(self.predictions, self.masks, self.spacing)

    @cached_property
    def maps(self) -> UInt8[Tensor, "b 1 h w"]:
        """Probabilities of each image stretched to 0 to 255, on the CPU.

        Raises:
            ValueError: If there are no logits.
        """
        return grey_maps(self.logits, self.ignored)

    @cached_property
    def curves(self) -> Curves:
        """Scores of each image at all thresholds of its map."""
        return curves_of(self.maps, self.masks)


OFFERED = (
    *(field.name for field in fields(MetricInputs)),
    *(name for name, value in vars(MetricInputs).items() if isinstance(value, cached_property)),
)


@dataclass(frozen=True)
class Metric:
    """A function that scores predictions, and how its values are to be interpreted.

    Attributes:
        function: Its parameters name attributes of :class:`MetricInputs`, for example
            ``(predictions, masks)`` or ``(counts)``; it returns one finite number per image.
        name: Column of the rows, and name in recipes.
        direction: Whether ``"higher"`` or ``"lower"`` values are better.
        label: Name in tables and figures; by default ``name``.
        unit: Unit of the values, such as ``"px"``; empty for a share or a count.
        range: Smallest and largest possible value. Values from 0 to 1 without a unit are shown in
            percent.
        empty: Its value if prediction or mask is empty, in words for a caption.
        default: Whether it is computed if no metrics are specified.
        primary: Whether it is in the main table and has a chart; otherwise it is in the table of
            further metrics.
        keeps_clean: Whether each row also holds the score of the clean image, as ``NAME_clean``.

    Raises:
        ValueError: If the name, the direction or a parameter of the function is invalid.
    """

    function: Callable[..., Any]
    name: str
    direction: Direction = "higher"
    label: str = ""
    unit: str = ""
    range: tuple[float, float] = (-inf, inf)
    empty: str = ""
    default: bool = False
    primary: bool = True
    keeps_clean: bool = False

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"Expected a metric with an identifier as name, got {self.name!r}.")
        if self.direction not in ("higher", "lower"):
            raise ValueError(
                f"Expected direction 'higher' or 'lower' of metric {self.name!r} (which values are "
                f"better), got {self.direction!r}."
            )
        if not self.label:
            object.__setattr__(self, "label", self.name)
        _require_known_parameters(self.function, self.name)

    @property
    def is_share(self) -> bool:
        """Whether values are shown in percent."""
        return not self.unit and tuple(self.range) == (0, 1)

    @property
    def heading(self) -> str:
        """Label with the unit, for a column header."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def __call__(self, predictions: Masks, masks: Masks, **inputs: Any) -> Values:
        """Compute one value per image; ``inputs`` are further fields of :class:`MetricInputs`."""
        return self.of(MetricInputs(predictions, masks, **inputs))

    def of(self, inputs: MetricInputs, keys: Sequence[str] = ()) -> Values:
        """Compute one value per image of a batch.

        Args:
            inputs: The batch of ``b`` images.
            keys: Names of the images, for error messages.

        Returns:
            Shape ``(b,)``, double precision, on the CPU.

        Raises:
            ValueError: If the function raises an error, or does not return one finite number
                within :attr:`range` per image.
        """
        wanted = inspect.signature(self.function).parameters
        try:
            given = {name: getattr(inputs, name) for name in OFFERED if name in wanted}
            values = self.function(**given)
        except Exception as error:  # user code may raise anything
            raise ValueError(f"Metric {self.name!r} cannot be computed: {said(error)}.") from error
        return self._checked(values, len(inputs.masks), keys)

    def _checked(self, returned: object, images: int, keys: Sequence[str]) -> Values:
        try:
            values = torch.as_tensor(returned).detach().double().cpu()
        except (TypeError, ValueError, RuntimeError):
            values = torch.empty(0)
        if values.shape != (images,):
            shape = tuple(getattr(returned, "shape", ())) or type(returned).__name__
            raise ValueError(
                f"Expected metric {self.name!r} to return one number per image, shape ({images},), "
                f"got {shape}. Reduce over all axes but the first."
            )
        low, high = self.range
        wrong = ~values.isfinite() | (values < low - 1e-6) | (values > high + 1e-6)
        if wrong.any():
            first = int(wrong.nonzero()[0])
            whose = repr(keys[first]) if keys else f"image {first} of the batch"
            raise ValueError(
                f"Expected metric {self.name!r} to return finite numbers from {low:g} to {high:g}, "
                f"got {values[first].item():g} for {whose}. Say what it gives where the prediction "
                "or the mask is empty, and declare its range."
            )
        return values


def declared(function: Callable[..., Any]) -> Metric:
    """Make a metric of a function.

    The attributes ``direction``, ``label``, ``unit``, ``range``, ``empty``, ``primary`` and
    ``keeps_clean`` of the function are used if they exist, otherwise the defaults of
    :class:`Metric`: higher is better, no unit, any finite value.

    >>> def lesions(predictions, masks): ...
    >>> lesions.direction = "lower"
    >>> declared(lesions).name, declared(lesions).direction
    ('lesions', 'lower')
    """
    if isinstance(function, Metric):
        return function
    name = getattr(function, "__name__", type(function).__name__)
    own = vars(function) if hasattr(function, "__dict__") else {}
    known = ("direction", "label", "unit", "range", "empty", "primary", "keeps_clean")
    return Metric(function, name, **{key: own[key] for key in known if key in own})


def as_text(metric: Metric) -> dict[str, Any]:
    """The declaration of a metric as plain values, to be stored with the rows."""
    kept = ("direction", "label", "unit", "range", "empty", "primary")
    return {key: getattr(metric, key) for key in kept}


def from_text(name: str, told: Mapping[str, Any]) -> Metric:
    """Restore a metric from its declaration; it can be reported but not computed."""
    return Metric(_unknown, name, **{**told, "range": tuple(told["range"])})


def _unknown() -> Values:
    raise RuntimeError("only its values are known, the function is not")


def _require_known_parameters(function: Callable[..., Any], name: str) -> None:
    if not callable(function):
        raise ValueError(
            f"Expected a function as metric {name!r}, got a {type(function).__name__}."
        )
    for parameter in inspect.signature(function).parameters.values():
        is_named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if parameter.default is parameter.empty and not (is_named and parameter.name in OFFERED):
            raise ValueError(
                f"Expected metric {name!r} to take some of {', '.join(OFFERED)}, got a parameter "
                f"{parameter.name!r}.{did_you_mean(parameter.name, OFFERED)}"
            )
