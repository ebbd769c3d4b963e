"""Prints the list of models, and the checks of one model, as tables in the terminal."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from palpate.checks import CheckResult
from palpate.data import Batch, collate, load_data
from palpate.models import PixelModel, find_family, load_model
from palpate.models.check import examine
from palpate.models.facts import BROKEN, ModelFacts, facts_of
from palpate.models.families import FAMILIES, known_names
from palpate.models.request import AdapterName
from palpate.models.wrap.wrap import Wrapped
from palpate.prompting import Bound

_SIDE = 96  # side of the test image in pixels
_ENDLESS = 10_000  # line width in characters at which nothing is wrapped
_GRADIENT = {True: "yes", False: "NO", None: "fails, see palpate models check"}
_COLUMNS = (
    "name", "parameters", "trainable", "input", "threshold", "text", "gradient", "weights",
    "licence",
)  # fmt: skip


Listed: TypeAlias = Mapping[str, ModelFacts | Exception]


def listed_models(
    names: Sequence[str],
    adapter: AdapterName | None = None,
    options: Mapping[str, Any] = {},
    *,
    trust_code: bool = False,
) -> Listed:
    """Load models, and collect facts on each by its name; or why one cannot be loaded.

    Args:
        names: Names of models; all that come with palpate if empty.
        adapter: Adapter to insert into them.
        options: Options of the model family.
        trust_code: Let files run code of their own.

    Raises:
        ValueError, FileNotFoundError: If one that was named cannot be loaded.
    """
    found: dict[str, ModelFacts | Exception] = {}
    for name in names or known_names():
        try:
            found[name] = _facts(name, adapter, options, trust_code)
        except (*BROKEN, OSError) as error:
            if names:
                raise
            found[name] = error
    return found


def show_models(found: Listed, *, families: bool) -> None:
    """Print a line of facts on each model, and with ``families`` also the families of models."""
    _print_cards(Console(), [list(map(escape, _line(*each))) for each in found.items()])
    if families:
        _show_families()


def models_as_values(found: Listed) -> list[dict[str, Any]]:
    """The list of :func:`show_models` as plain values; a model that cannot be loaded says why."""
    return [
        asdict(told) if isinstance(told, ModelFacts) else {"name": name, "error": str(told)}
        for name, told in found.items()
    ]


def _show_families() -> None:
    """The families of models, most of which need weights from the user."""
    table = Table("family", "palpate models FOLDER_OR_NAME shows one model")
    for name, family in FAMILIES.items():
        table.add_row(name, escape(family.about))
    Console().print(table)


def check_model(
    name: str,
    adapter: AdapterName | None = None,
    options: Mapping[str, Any] = {},
    prompts: Sequence[str] = (),
    size: int = 224,
    *,
    trust_code: bool = False,
) -> list[CheckResult]:
    """Check whether a model can be attacked.

    Args:
        name: Name of the model.
        adapter: Adapter to insert into it.
        options: Options of the model family.
        prompts: Prompts for the test images; by default their own, or the classes of the model.
        size: Side of the test images, in pixels.
        trust_code: Let files run code of their own.

    Raises:
        ValueError, FileNotFoundError: If it cannot be loaded.
    """
    model = load_model(name, adapter, options=options, trust_code=trust_code)
    batch, asked = _specimens(model, size, 4)
    if prompts:
        asked = [prompts[i % len(prompts)] for i in range(len(asked))]
    return examine(model, batch.images, asked, batch.boxes)


def show_checks(name: str, findings: Sequence[CheckResult]) -> None:
    """Print the checks of a model as a table."""
    table = Table("check", "", "seen", title=name)
    for finding, before in zip(findings, [None, *findings[:-1]], strict=True):
        again = before is not None and before.seen == finding.seen
        table.add_row(
            finding.name, _coloured(finding), "as above" if again else escape(finding.seen)
        )
    Console().print(table)


def _print_cards(console: Console, lines: Sequence[Sequence[str]]) -> None:
    """Print a table, or paragraphs if the terminal is too narrow to keep its words whole."""
    table = Table(*_COLUMNS)
    for line in lines:
        table.add_row(*line)
    if (
        console.measure(table, options=console.options.update(width=_ENDLESS)).maximum
        <= console.width
    ):
        console.print(table)
        return
    for name, *values in lines:
        named = zip(_COLUMNS[1:], values, strict=True)
        text = " · ".join(f"[dim]{column}[/dim] {value}" for column, value in named if value)
        console.print(f"[bold]{name}[/bold]", Padding(text, (0, 0, 0, 2)), highlight=False)


def _facts(
    name: str, adapter: AdapterName | None, options: Mapping[str, Any], trust_code: bool
) -> ModelFacts:
    model = load_model(name, adapter, options=options, trust_code=trust_code)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # random weights may give any output
        batch, prompts = _specimens(model, _SIDE, 1)
        bound = Bound(model, prompts, batch.boxes)
        return facts_of(model, _family(name), batch.images, bound)


def _family(name: str) -> str:
    try:
        return find_family(name)[0]
    except (ValueError, FileNotFoundError):
        return "checkpoint"


def _specimens(model: PixelModel, size: int, count: int) -> tuple[Batch, list[str]]:
    """Create test images, with prompts that the model supports."""
    data = load_data("phantom-endoscopy", split="test", size=size, limit=count)
    batch = collate([data[i] for i in range(count)])
    prompts = list(batch.prompts)
    if isinstance(model, Wrapped) and model.reading.classes:
        known = list(model.reading.classes)
        prompts = [known[i % len(known)] for i in range(count)]
    return batch, prompts


def _line(name: str, facts: ModelFacts | Exception) -> Iterator[str]:
    if isinstance(facts, Exception):
        yield from (name, *[""] * 6, f"cannot be loaded: {facts}", "")
        return
    yield facts.name
    yield _count(facts.parameters)
    yield _count(facts.trainable)
    yield facts.input_size
    yield f"{facts.threshold:g}"
    yield _asked_with(facts)
    yield _GRADIENT[facts.differentiable]
    yield facts.origin
    yield facts.licence


def _count(parameters: int) -> str:
    """A number of parameters with at most two decimals, such as ``1.25 M``."""
    if parameters < 1000:
        return str(parameters)
    million = parameters >= 100_000
    return f"{parameters / 1e6:.2f} M" if million else f"{parameters / 1e3:.1f} k"


def _asked_with(facts: ModelFacts) -> str:
    text = "yes" if facts.text_conditioned else "no"
    return text if not facts.wants_boxes else "box" if text == "no" else "and box"


def _coloured(finding: CheckResult) -> str:
    colour = {"pass": "green", "warn": "yellow", "fail": "red"}[finding.status]
    return f"[{colour}]{finding.status}[/{colour}]"
