"""Adversarial training: images are attacked before the training step that learns from them.

The attack is an ordinary attack on images. It sees the model of this step, in evaluation mode and
with fixed weights, so that it computes gradients of the pixels only.
"""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from math import isfinite
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palpate.prompting import Bound
from palpate.randomness import generator
from palpate.training.batches import TrainingBatch
from palpate.training.criterion import Criterion
from palpate.types import Attack, Images, Masks

Objective: TypeAlias = Literal["attacked", "trades"]


class Moment(NamedTuple):
    """A training step: its epoch and its number in the epoch, from 0, and the steps per epoch."""

    epoch: int
    step: int
    steps: int
    seed: int
    process: int = 0


@dataclass(frozen=True, eq=False)
class Adversarial:
    """How images are attacked during training, and what is learned from them.

    With the objective ``"attacked"``, the loss is that of ordinary training at attacked images
    (Madry et al., 2018, https://arxiv.org/abs/1706.06083). With ``"trades"``, it is the loss at the
    clean images plus ``beta`` times the divergence of the attacked from the clean prediction, which
    is also what the attack maximises (Zhang et al., 2019, https://arxiv.org/abs/1901.08573).

    Without an attack, each batch is used for ``replays`` optimizer steps, and the gradient of each
    step also moves the perturbation ("free" training, Shafahi et al., 2019,
    https://arxiv.org/abs/1904.12843). Here the perturbation starts anew with every batch, so that
    an interrupted training can be resumed. "Fast" training (Wong et al., 2020,
    https://arxiv.org/abs/2001.03994) is ``partial(pgd, steps=1)``.

    Attributes:
        attack: Attack on images, such as ``partial(segpgd, steps=3)``; None for free training.
        epsilon: Radius, in units of pixel value (``2 / 255``, not ``2``).
        share: Share of each batch that is attacked, above 0 to 1; the rest stays clean.
        warmup_epochs: Epochs in which the radius rises linearly to ``epsilon``; may be fractional.
        objective: ``"attacked"`` or ``"trades"``.
        beta: Weight of the divergence, for ``"trades"``.
        replays: Optimizer steps for each batch in free training.
        text: Text that identifies the attack, for the training state; by default its name, options
            and, for code outside palpate, source.

    Raises:
        ValueError: If a value is out of range, or the values do not fit each other.
    """

    attack: Attack | None
    epsilon: float
    share: float = 1.0
    warmup_epochs: float = 0.0
    objective: Objective = "attacked"
    beta: float = 6.0
    replays: int = 1
    text: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.epsilon <= 1:
            raise ValueError(
                "Expected an epsilon of adversarial training above 0 and up to 1, in units of "
                f"pixel value (2 / 255, not 2), got {self.epsilon:g}. Leave adversarial training "
                "out to train on clean images."
            )
        if not 0 < self.share <= 1:
            raise ValueError(f"Expected a share of attacked images in (0, 1], got {self.share:g}.")
        if not (self.warmup_epochs >= 0 and isfinite(self.warmup_epochs)):
            raise ValueError(
                f"Expected warmup_epochs >= 0 of adversarial training, got {self.warmup_epochs:g}."
            )
        if self.objective not in get_args(Objective):
            raise ValueError(
                f"Expected an objective among {', '.join(get_args(Objective))}, got "
                f"{self.objective!r}."
            )
        if self.objective == "trades" and not (self.beta > 0 and isfinite(self.beta)):
            raise ValueError(f"Expected beta > 0 for trades, got {self.beta:g}.")
        if self.objective == "trades" and (self.share < 1 or self.attack is None):
            raise ValueError(
                "Expected share 1 and an attack with objective trades, which learns from each "
                f"image clean and attacked; got share {self.share:g} and "
                f"{'no attack' if self.attack is None else 'an attack'}."
            )
        if self.replays < 1 or (self.attack is None) != (self.replays > 1):
            raise ValueError(
                "Expected replays >= 2 without an attack (free training), and 1 with an attack, "
                f"got {self.replays} and {'none' if self.attack is None else 'an attack'}."
            )

    @property
    def identity(self) -> str:
        """Text that identifies everything that determines the trained weights."""
        numbers = {k: v for k, v in vars(self).items() if k not in ("attack", "text")}
        return f"adversarial {self.text or named(self.attack)} {numbers}"

    def radius(self, moment: Moment) -> float:
        """Radius at a training step; it is never 0.

        >>> rising = Adversarial(None, 0.1, warmup_epochs=2, replays=2)
        >>> [round(rising.radius(Moment(epoch, 0, 1, 0)), 3) for epoch in range(3)]
        [0.05, 0.1, 0.1]
        """
        done = moment.epoch + (moment.step + 1) / moment.steps
        return self.epsilon * min(1.0, done / self.warmup_epochs if self.warmup_epochs else 1.0)

    def criterion(self, loss: Criterion) -> Criterion:
        """The loss of the batches that :meth:`batches` returns, made of the usual loss."""
        return partial(_trades, loss, self.beta) if self.objective == "trades" else loss

    def batches(
        self, model: nn.Module, batch: TrainingBatch, moment: Moment
    ) -> Iterator[TrainingBatch]:
        """The batches to learn from in place of a clean batch; each is used for one step.

        Args:
            model: The model; its modes and gradients are as before at every batch returned.
            batch: Clean images with prompts and masks.
            moment: The training step.

        Raises:
            ValueError: If the attack returns something other than images in the ball.
        """
        if self.attack is None:
            yield from self._replayed(batch, moment)
            return
        attacked = self._attacked(model, batch, moment)
        if self.objective == "trades":
            yield doubled(batch, attacked)
        else:
            yield batch._replace(inputs=attacked)

    def _attacked(self, model: nn.Module, batch: TrainingBatch, moment: Moment) -> Images:
        assert self.attack is not None
        count = max(1, round(self.share * len(batch.inputs)))
        some = first(batch, count)
        with fixed(model):
            bound = Bound(model, some.prompts, some.boxes, some.ignored)
            attack = self.attack
            if self.objective == "trades":
                attack = partial(attack, loss=DivergenceFrom.of(bound(some.inputs)))
            given = call_options(attack, model, self.radius(moment), _draws(count, moment))
            images = attack(bound, some.inputs, some.masks, **given)
        check_ball(images, some.inputs, self.radius(moment))
        return torch.cat([images, batch.inputs[count:]])

    def _replayed(self, batch: TrainingBatch, moment: Moment) -> Iterator[TrainingBatch]:
        count, radius = max(1, round(self.share * len(batch.inputs))), self.radius(moment)
        start = torch.stack(
            [torch.rand(batch.inputs.shape[1:], generator=draw) for draw in _draws(count, moment)]
        )
        change = torch.zeros_like(batch.inputs)
        change[:count] = (2 * start - 1).to(change) * radius
        for _ in range(self.replays):
            images = (batch.inputs + change).clamp(0, 1).requires_grad_()
            yield batch._replace(inputs=images)
            if images.grad is None:
                raise RuntimeError(
                    "Expected a gradient at the pixels after a step of free training, got none: "
                    "the model blocks it. Use an attack instead of `free`."
                )
            moved = (change[:count] + radius * images.grad[:count].sign()).clamp(-radius, radius)
            change[:count] = moved


@dataclass(frozen=True, eq=False)
class DivergenceFrom:
    """Divergence of the prediction from that at the clean images, for each image of the batch.

    The Kullback-Leibler divergence KL(clean || attacked) of the two classes, mean over pixels.

    Attributes:
        clean: Probabilities at the clean images.
    """

    clean: Tensor

    @classmethod
    def of(cls, logits: Tensor) -> "DivergenceFrom":
        """The divergence from the prediction with these logits."""
        return cls(logits.detach().sigmoid())

    def __call__(self, logits: Tensor, masks: Masks) -> Tensor:
        """Return one value per image; the masks are not read."""
        if logits.shape != self.clean.shape:
            raise ValueError(
                f"Expected all {len(self.clean)} images of the batch at every step of an attack "
                f"for trades, got {len(logits)}. Use an attack without early_stop."
            )
        del masks
        return divergence(logits, self.clean).flatten(1).mean(1)


def divergence(logits: Tensor, clean: Tensor) -> Tensor:
    """KL(clean || attacked) of each pixel, from attacked logits and clean probabilities."""
    entropy = -(torch.xlogy(clean, clean) + torch.xlogy(1 - clean, 1 - clean))
    return F.binary_cross_entropy_with_logits(logits, clean, reduction="none") - entropy


def _trades(
    loss: Criterion, beta: float, logits: Tensor, masks: Tensor, ignored: Tensor | None = None
) -> Tensor:
    """Loss of a batch that :func:`doubled` made: clean images, then the same ones attacked."""
    clean, attacked = logits.chunk(2)
    truth, _ = masks.chunk(2)
    skipped = None if ignored is None else ignored.chunk(2)[0]
    # At ignored pixels both logits are the same constant, so they add nothing to the sum.
    apart = divergence(attacked, clean.sigmoid()).sum()
    counted = attacked.numel() if skipped is None else (~skipped).sum() * attacked.shape[1]
    return loss(clean, truth, skipped) + beta * apart / counted


def doubled(batch: TrainingBatch, attacked: Images) -> TrainingBatch:
    """A batch of the clean images, then the attacked ones with the same prompts and masks."""
    return TrainingBatch(
        torch.cat([batch.inputs, attacked]),
        batch.prompts * 2,
        torch.cat([batch.masks] * 2),
        None if batch.boxes is None else batch.boxes * 2,
        None if batch.ignored is None else torch.cat([batch.ignored] * 2),
    )


def first(batch: TrainingBatch, count: int) -> TrainingBatch:
    """The first samples of a batch."""
    return TrainingBatch(
        batch.inputs[:count],
        batch.prompts[:count],
        batch.masks[:count],
        None if batch.boxes is None else batch.boxes[:count],
        None if batch.ignored is None else batch.ignored[:count],
    )


@contextmanager
def fixed(model: nn.Module) -> Iterator[None]:
    """Context in which a model is in evaluation mode and its weights need no gradient."""
    learning = [p for p in model.parameters() if p.requires_grad]
    training = model.training
    try:
        for parameter in learning:
            parameter.requires_grad_(False)
        model.eval()
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
        model.train(training)  # reads which weights are trained


def call_options(
    attack: Attack, model: nn.Module, epsilon: float, draws: list[torch.Generator]
) -> dict[str, Any]:
    """The arguments of an attack besides model, images and masks, of those that it takes."""
    offered: Mapping[str, Any] = {
        "epsilon": epsilon,
        "generator": draws,
        "threshold": float(getattr(model, "threshold_logit", 0.0)),
    }
    known = inspect.signature(attack).parameters
    return {name: value for name, value in offered.items() if name in known}


def check_ball(images: object, clean: Images, epsilon: float) -> None:
    """Check what an attack of training returned.

    Raises:
        ValueError: If they are not images in [0, 1] within ``epsilon`` of the clean ones.
    """
    if not isinstance(images, Tensor) or images.shape != clean.shape:
        got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(
            f"Expected images {tuple(clean.shape)} from the attack of adversarial training, "
            f"got {got}."
        )
    furthest = (images - clean).abs().max().item()
    # An L2 ball contains no pixel further away than its radius.
    if not (furthest <= epsilon + 1e-6 and images.min() >= 0 and images.max() <= 1):
        raise ValueError(
            f"Expected images in [0, 1] no further than {epsilon * 255:g}/255 from the clean ones "
            f"from the attack of adversarial training, got a change of {furthest * 255:g}/255 and "
            f"values from {images.min():g} to {images.max():g}."
        )


def named(attack: object) -> str:
    """Text that identifies an attack: its name, its options, and the source of foreign code."""
    if isinstance(attack, partial):
        options = {name: named(value) for name, value in sorted(attack.keywords.items())}
        return f"{named(attack.func)} {options}"
    if not callable(attack):
        return repr(attack)
    name = f"{getattr(attack, '__module__', '')}.{getattr(attack, '__qualname__', type(attack))}"
    if name.startswith("palpate."):
        return name
    try:
        return f"{name} {sha256(inspect.getsource(attack).encode()).hexdigest()}"
    except (OSError, TypeError):  # made at run time: there is no source
        return name


def _draws(count: int, moment: Moment) -> list[torch.Generator]:
    place = (moment.epoch, moment.step, moment.process)
    return [generator(moment.seed, "adversarial", *place, row) for row in range(count)]
