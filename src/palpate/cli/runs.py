"""Commands on finished models and runs: ``palpate evaluate``, ``report`` and ``compare``."""

from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from palpate.cli.commands import UsageError
from palpate.cli.json_output import check_target
from palpate.cli.mappings import IgnoredWords, MaskWords, values
from palpate.cli.progress_bars import show_progress


def evaluate(
    model: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="MODEL")] = None,
    images: Path | None = None,
    masks: Path | None = None,
    title: str | None = None,
    prompt: str | None = None,
    mask_values: MaskWords = (),
    mask_ignore: IgnoredWords = (),
    split: Literal["train", "val", "test", "all"] | None = None,
    run: Path | None = None,
    attacks: tuple[str, ...] | None = None,
    epsilon_255: tuple[float, ...] | None = None,
    options: dict[str, str] | None = None,
    size: int | None = None,
    sanity_samples: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    out: Path | None = None,
    json: Path | None = None,
) -> None:
    """Attack a finished model on your images, or add attacks to a run.

    `palpate evaluate MODEL --images DIR --masks DIR` attacks the model on all images of a folder,
    without training it, and writes a run folder with a page. `palpate evaluate --run RUN` adds
    attacks to a run and writes its page again.

    Args:
        model: Name, checkpoint, file or code (file.py:function) of a model, or the folder of a run.
        images: Folder of your images.
        masks: Folder of their masks, with the same file names; empty masks are allowed.
        title: Name of your data in tables and pages; by default that of their folder.
        prompt: What the masks show, such as "polyp"; needed only if the model reads a prompt and
            the structures have no names.
        mask_values: Values of the structure in the masks (`127`), or a name for each of several
            structures (`255=tumour 127=liver`), if the masks are not binary.
        mask_ignore: Values of pixels to ignore, such as `255`.
        split: Split to attack: train, val, test or all; by default all.
        run: Run folder, as made by `palpate run` or `palpate train`.
        attacks: Names of the attacks; by default noise, fgsm and pgd, or those of the run.
        epsilon_255: Radii of the perturbation, in units of 1/255 (8 or 8/255); by default
            1, 2, 4 and 8, or those of the run.
        options: Options of the model family, as NAME VALUE ...; values are read as YAML.
        size: Images are resized to a square of this side, in pixels; by default 224.
        sanity_samples: Number of images for the sanity card, which takes about 275 forward and 135
            backward passes for each; by default 8, and 0 for no card.
        seed: Seed of all random numbers; by default 0.
        device: cpu, cuda, cuda:1, ...; by default CUDA if it is available.
        out: Run folder; by default runs/MODEL-IMAGES.
        json: Print the scores as JSON, or write them to this file.
    """
    check_target(json)
    of_model = {
        "images": images, "masks": masks, "title": title, "prompt": prompt,
        "mask.values": mask_values or None, "mask.ignore": mask_ignore or None, "split": split,
        "options": options, "size": size, "sanity_samples": sanity_samples, "seed": seed,
        "device": device, "out": out,
    }  # fmt: skip
    given = {name: value for name, value in of_model.items() if value is not None}
    if run is None and model is not None and not given and (Path(model) / "config.yaml").is_file():
        run, model = Path(model), None
    if run is not None:
        _refuse_beside_run(model, given)
        _evaluate_run(run, attacks, epsilon_255, json)
        return
    if model is None or images is None or masks is None:
        raise UsageError(
            "Expected a model and its images (palpate evaluate MODEL --images DIR --masks DIR), or "
            f"a run (palpate evaluate --run DIR), got {_said(model, given)}."
        )
    _evaluate_model(model, given, attacks, epsilon_255, json)


def _refuse_beside_run(model: str | None, given: dict[str, Any]) -> None:
    if model is not None or given:
        raise UsageError(
            "Expected only --attacks, --epsilon-255 and --json beside --run, whose model, images "
            f"and settings are those of its recipe, got {_said(model, given)}. With others, make "
            "a run of its own: palpate run --config RUN/config.yaml --out ELSEWHERE ..."
        )


def _said(model: str | None, given: dict[str, Any]) -> str:
    words = [f"the model {model}"] * (model is not None)
    return ", ".join([*words, *(f"--{name}" for name in given)]) or "neither"


def _evaluate_run(
    run: Path,
    attacks: tuple[str, ...] | None,
    epsilon_255: tuple[float, ...] | None,
    json: Path | None,
) -> None:
    from palpate.cli.tables.scores import print_scores
    from palpate.pipeline.repeat.evaluate import evaluate_run

    with show_progress() as progress:
        evaluate_run(run, attacks, epsilon_255, progress)
    print_scores(run, json)


def _evaluate_model(
    model: str,
    given: dict[str, Any],
    attacks: tuple[str, ...] | None,
    epsilon_255: tuple[float, ...] | None,
    json: Path | None,
) -> None:
    from palpate.cli.recipes import run_own
    from palpate.pipeline.recipe.demo import OwnData
    from palpate.pipeline.recipe.masks import MaskConfig
    from palpate.pipeline.run.finished_model import chosen_attacks, finished_model_config

    mask = MaskConfig(given.get("mask.values", ()), given.get("mask.ignore", ()))
    own = OwnData(given["images"], given["masks"], given.get("prompt"), mask, given.get("title"))
    changes: dict[str, Any] = {k: given[k] for k in ("split", "sanity_samples") if k in given}
    changes |= {} if attacks is None else {"attacks": chosen_attacks(attacks)}
    changes |= {} if epsilon_255 is None else {"epsilon_255": epsilon_255}
    config = finished_model_config(
        model,
        own,
        options=values(given.get("options")),
        changes=changes,
        data={k: given[k] for k in ("size",) if k in given},
        **{k: given[k] for k in ("device", "seed", "out") if k in given},
    )
    run_own(config, json)


def report(
    folder: tyro.conf.Positional[Path | None] = None,
    run: Path | None = None,
    pdf: bool = False,
    json: Path | None = None,
) -> None:
    """Write the tables, figures and page of a run again, from its rows.

    Args:
        folder: Run folder that has rows.
        run: The same, as an option.
        pdf: Also write report/report.pdf, a sheet of two pages for auditors with the page as annex,
            and print its path. Needs WeasyPrint.
        json: Print the scores as JSON, or write them to this file.
    """
    from palpate.cli.tables.scores import print_scores
    from palpate.pipeline.run.run import make_pdf, make_report

    check_target(json)
    wanted = folder or run
    if wanted is None or (folder and run):
        raise UsageError(
            "Expected one run folder: palpate report RUN. See `palpate report --help`."
        )
    if pdf:
        sheet = make_pdf(wanted)
        print_scores(wanted, json, page=sheet)
        return
    make_report(wanted)
    print_scores(wanted, json)


def compare(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    out: Path = Path("comparison"),
    json: Path | None = None,
) -> None:
    """Compare finished runs: the first is the reference for the paired differences.

    Args:
        runs: Two or more run folders that have rows.
        out: Folder for the tables, figures and page.
        json: Print the scores as JSON, or write them to this file.
    """
    from palpate.cli.tables.scores import print_scores
    from palpate.pipeline.several.compare import compare_runs

    check_target(json)
    compare_runs(runs, out)
    print_scores(out, json)
