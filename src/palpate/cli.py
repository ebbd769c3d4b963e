"""The command line: every command is a dataclass of its options and a ``run`` of a few lines."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import tyro

from palpate.hints import did_you_mean
from palpate.pipeline import watching
from palpate.pipeline.config import (
    BuildConfig,
    ModelConfig,
    RunConfig,
    TransferOptions,
    read_recipe,
)
from palpate.pipeline.demo import DEFAULT, OwnData, demo_config


@dataclass(frozen=True)
class Evaluate:
    """Attack the model of a run and add the rows to it."""

    run: Path
    """Run folder, as made by `palpate run` or `palpate train`."""
    attacks: tuple[str, ...] | None = None
    """Attacks to run; by default those of the recipe."""
    epsilon_255: tuple[float, ...] | None = None
    """Radii of the ball, in steps of an 8-bit image (1 = 1/255); by default those of the recipe."""

    def __call__(self) -> None:
        from palpate.pipeline.run import evaluate_again

        with watching() as progress:
            rows = evaluate_again(self.run, self.attacks, self.epsilon_255, progress)
        print(rows)


@dataclass(frozen=True)
class Demo:
    """Fine-tune, attack and report the embedded model in minutes, on drawn images or your own."""

    modality: str = DEFAULT
    """endoscopy, dermoscopy or echo: which phantoms; not with images of your own."""
    fast: bool = False
    """Less of everything, in less than a minute."""
    images: Path | None = None
    """Folder of images of your own."""
    masks: Path | None = None
    """Folder of their masks, called like the images."""
    prompt: str | None = None
    """What the masks outline, such as "polyp"."""
    out: Path | None = None
    """Run folder; by default palpate-demo-MODALITY in the current directory."""

    def __call__(self) -> None:
        _make(demo_config(self.modality, fast=self.fast, own=self._own(), out=self.out))

    def _own(self) -> OwnData | None:
        if self.images and self.masks and self.prompt:
            return OwnData(self.images, self.masks, self.prompt)
        if self.images or self.masks or self.prompt:
            raise ValueError(
                "Expected --images DIR, --masks DIR and --prompt TEXT together for data of your "
                "own, or none of them for phantoms."
            )
        return None


@dataclass(frozen=True)
class Report:
    """Write the tables, figures and page of a run anew."""

    run: Path
    """Run folder that has rows."""

    def __call__(self) -> None:
        from palpate.pipeline.run import make_report

        print(make_report(self.run))


@dataclass(frozen=True)
class Compare:
    """Put finished runs side by side, with paired differences from the first."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders that have rows."""
    out: Path = Path("comparison")
    """Folder of the tables, figures and page."""

    def __call__(self) -> None:
        from palpate.pipeline.comparing import compare_runs

        print(compare_runs(self.runs, self.out))


@dataclass(frozen=True)
class Transfer:
    """Attack the model of every run by way of the model of every other."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders; their models are pressed on the data of the first."""
    out: Path = Path("transfer")
    """Folder of the rows and the table."""
    options: Annotated[TransferOptions, tyro.conf.arg(name="")] = field(
        default_factory=TransferOptions
    )
    """How the surrogate is attacked."""
    epsilon_255: tuple[float, ...] = (2.0, 8.0)
    """Radii of the ball, in steps of an 8-bit image (1 = 1/255)."""
    limit: int | None = None
    """Only the first so many samples."""

    def __call__(self) -> None:
        from palpate.pipeline.show import show_table
        from palpate.pipeline.transferring import transfer_runs

        radii = [epsilon / 255 for epsilon in self.epsilon_255]
        with watching() as progress:
            table = transfer_runs(
                self.runs, self.out, self.options, radii, limit=self.limit, progress=progress
            )
        show_table(table)
        print(self.out / "tables" / "transfer.md")


def check(
    name: tyro.conf.Positional[tuple[str, ...]],
    root: Path | None = None,
    json: Path | None = None,
    names_only: bool = False,
) -> None:
    """Look for all that can be wrong with data sets; exit status 1 if something is.

    Several are also compared with each other. Exit status 2 means that there is no such data set.

    Args:
        name: Data sets, by name or by folder; `folder` for one of your own at --root.
        root: Folder that holds them; by default $PALPATE_DATA, or else data/.
        json: Where to write the outcome for scripts.
        names_only: Do not open images and masks: seconds instead of minutes.
    """
    from rich.console import Console

    from palpate.pipeline.checking import check_data, print_report

    try:
        with watching() as progress:
            report = check_data(
                name, root, pixels=not names_only, json_file=json, progress=progress
            )
    except (ValueError, OSError) as error:
        print(f"palpate: {error}", file=sys.stderr)
        sys.exit(2)
    print_report(report, Console())
    sys.exit(0 if report.passed else 1)


def split(
    name: tyro.conf.Positional[str],
    root: Path | None = None,
    seed: int = 0,
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
    folds: int | None = None,
    stratify: str = "",
    published: bool = False,
    to: str | None = None,
) -> None:
    """Divide a data set anew, by patient and with lesions of all sizes in every split.

    Writes lists below anns/; use them with `--data.annotations NAME`.

    Args:
        name: Data set, by name or by folder.
        root: Folder that holds it; by default $PALPATE_DATA, or else data/.
        seed: Of the draw.
        fractions: Shares of train, val and test.
        folds: So many folds for cross-validation, instead of fractions.
        stratify: A fact of the annotations, such as `pathology`, to spread evenly as well.
        published: The split that others published, with its mistakes mended, instead of a draw.
        to: Name of the new lists; by default `seed-0`, `seed-0-folds-5` or `published`.
    """
    from palpate.data.locate import locate
    from palpate.data.splits.folder import Division, split_folder

    found = locate(name, root)
    drawn = f"seed-{seed}" if folds is None else f"seed-{seed}-folds-{folds}"
    division = Division(seed, fractions, folds, stratify, published)
    with watching() as progress:
        written = split_folder(
            found.folder,
            found.spec,
            division,
            name=to or ("published" if published else drawn),
            progress=progress,
        )
    for folder in written:
        print(folder)


def show(
    name: tyro.conf.Positional[str],
    root: Path | None = None,
    out: Path | None = None,
    split: str = "test",
    count: int = 24,
    prompt: str = "random",
    annotations: str = "",
    seed: int = 0,
) -> None:
    """Draw a contact sheet: images with the outlines of their masks and their prompts.

    Args:
        name: Data set, by name or by folder.
        root: Folder that holds it; by default $PALPATE_DATA, or else data/.
        out: PNG to write; by default NAME-SPLIT.png here.
        split: train, val or test.
        count: How many images.
        prompt: Prompt level, or `random`.
        annotations: Folder below anns/ that has another division.
        seed: Picks the images.
    """
    from palpate.pipeline.looking import show_samples

    print(
        show_samples(
            name,
            root,
            out,
            split=split,
            count=count,
            prompt=prompt,
            annotations=annotations,
            seed=seed,
        )
    )


def prepare(
    name: tyro.conf.Positional[str],
    source: Path,
    out: Path,
    seed: int = 0,
    workers: int | None = None,
    options: dict[str, str] | None = None,
) -> None:
    """Make a folder that palpate reads from the official download of a data set.

    Run again, it does only what changed; a killed run goes on where it was.

    Args:
        name: Data set, such as `kvasir`; a wrong one lists all of them.
        source: The download: a folder, a zip or a tar, or a folder of several archives.
        out: Gets a folder for the data set; the --root of other commands.
        seed: Deals the splits where the source has none.
        workers: Images prepared at the same time; by default one a core.
        options: What some data sets want to know, such as `structure "liver tumour"`.
    """
    from palpate.data.prepare import prepare as prepare_set

    with watching() as progress:
        folder = prepare_set(
            name, source, out, seed=seed, workers=workers, progress=progress, options=options
        )
    print(folder)


def prompts(
    folder: tyro.conf.Positional[Path],
    templates: Path | None = None,
    annotations: Path | None = None,
    dataset: str | None = None,
    structure: str | None = None,
    synonyms: int = 0,
    places: Literal["true", "published"] = "true",
) -> None:
    """Write the prompts of a prepared folder, or take them over from published annotations.

    Args:
        folder: Has images/, masks/ and anns/.
        templates: Templates of your own, YAML: a text or a list of texts for p1, p2, ...
        annotations: Published JSON, or a folder of it; takes over prompts by the name of the mask.
        dataset: Whose wording to use; by default that of the data set in the folder.
        structure: What all masks outline, such as `polyp`; by default as the annotations say.
        synonyms: How many more phrasings each text gets, with words of the trade exchanged.
        places: What left, right and centre mean: thirds of the image, or what they are in the
            published annotations, see docs/prompts.md.
    """
    from palpate.data.published import import_prompts
    from palpate.data.rewriting import rewrite_prompts
    from palpate.data.wording import PUBLISHED, TRUE

    if annotations is not None:
        if templates or dataset or structure or synonyms or places != "true":
            raise ValueError("Expected --annotations alone: it brings whole texts. Run twice.")
        print(import_prompts(folder, annotations))
        return
    with watching() as progress:
        written = rewrite_prompts(
            folder,
            templates=templates,
            dataset=dataset,
            structure=structure,
            rule=PUBLISHED if places == "published" else TRUE,
            synonyms=synonyms,
            progress=progress,
        )
    print(", ".join(f"{split}: {count} entries" for split, count in written.items()))


Other = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Transfer, tyro.conf.subcommand("transfer")]
)

# Without a recipe: whatever CLIPSeg --model.name says, else one built from a DINOv2.
_PLAIN = RunConfig(model=ModelConfig(build=BuildConfig()))

_COMMANDS = (
    "demo", "run", "train", "pretrain", "evaluate", "report", "compare", "transfer", "data",
)  # fmt: skip

_USAGE = """\
palpate presses on medical image segmentation models and shows how they give way.

  palpate demo [--modality dermoscopy] [--fast]     all of it in minutes, without any files
  palpate run --config recipes/kvasir-quick.yaml    train, attack, score and report
  palpate train --config RECIPE                     the first half: a trained checkpoint
  palpate pretrain --config recipes/tiny.yaml       a small model of one's own, from a DINOv2
  palpate evaluate --run DIR [--attacks NAME ...]   attack the model of a run
  palpate report --run DIR                          tables, figures and page of a run
  palpate compare DIR DIR ...                       runs side by side, image by image
  palpate transfer DIR DIR ...                      does what breaks one model break the next?
  palpate data check kvasir [--root DIR]            all that can be wrong with a data set
  palpate data show kvasir [--out PNG]              a contact sheet with outlines and prompts
  palpate data split kvasir --seed 0 [--folds 5]    divide it anew, by patient
  palpate data prepare kvasir --source ZIP --out DIR    a data set from its official download
  palpate data prompts DIR [--templates YAML]       write its prompts anew, or --annotations JSON

Each knows --help. Settings of a recipe can be given on the command line: --data.root DIR,
--out DIR, --train.settings.epochs 5, --evaluate.epsilon-255 1 2 4.
"""


def main(arguments: list[str] | None = None) -> None:
    """Entry point; errors that a user can mend come as one message, without a traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        _dispatch(arguments)
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        sys.exit(f"palpate: {error}")
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        sys.exit(130)


def _dispatch(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE, end="")
    elif arguments[0] in ("run", "train"):
        _run(arguments[0], arguments[1:])
    elif arguments[0] == "pretrain":
        _pretrain(arguments[1:])
    elif arguments[0] == "data":
        tyro.extras.subcommand_cli_from_dict(
            {
                "prepare": prepare,
                "check": check,
                "show": show,
                "prompts": prompts,
                "split": split,
            },
            prog="palpate data",
            args=arguments[1:],
        )
    elif arguments[0] in ("demo", "evaluate", "report", "compare", "transfer"):
        tyro.cli(Other, args=arguments, prog="palpate")()
    elif arguments[0] == "--version":
        print(f"palpate {version('palpate')}")
    else:
        raise ValueError(
            f"Expected one of the commands {', '.join(_COMMANDS)}, got {arguments[0]!r}."
            f"{did_you_mean(arguments[0], _COMMANDS)}"
        )


def _run(command: str, arguments: list[str]) -> None:
    """``run`` and ``train``: the recipe gives the defaults of every option."""
    from palpate.pipeline.sweep import in_folders, read_sweep, run_sweep

    recipe, rest = _take_config(arguments)
    options = tyro.conf.AvoidSubcommands[RunConfig]
    configs = {
        label: tyro.cli(options, default=default, args=rest, prog=f"palpate {command}")
        for label, default in (read_sweep(recipe) if recipe else {"": _PLAIN}).items()
    }
    if command == "train":
        _train(in_folders(configs))
    elif len(configs) == 1:
        _make(*configs.values())
    else:
        folder = next(iter(configs.values())).folder
        with watching() as progress:
            page = run_sweep(in_folders(configs), folder, progress)
        print(page)


def _train(configs: Mapping[str, RunConfig]) -> None:
    from palpate.pipeline.run import train_only

    with watching() as progress:
        for config in configs.values():
            print(train_only(config, progress))


def _make(config: RunConfig) -> None:
    """A whole run, its scores on the terminal, and the path of its page."""
    from palpate.pipeline.run import run
    from palpate.pipeline.show import show_scores

    with watching() as progress:
        page = run(config, progress)
    show_scores(config.folder)
    print(page)


def _pretrain(arguments: list[str]) -> None:
    """``pretrain``: likewise."""
    from palpate.pipeline.teach import TeachConfig, teach

    recipe, rest = _take_config(arguments)
    default = read_recipe(recipe, TeachConfig) if recipe else TeachConfig()
    config = tyro.cli(TeachConfig, default=default, args=rest, prog="palpate pretrain")
    with watching() as progress:
        made = teach(config, progress)
    print(made)


def _take_config(arguments: list[str]) -> tuple[Path | None, list[str]]:
    for index, argument in enumerate(arguments):
        if argument == "--config" and index + 1 < len(arguments):
            return Path(arguments[index + 1]), arguments[:index] + arguments[index + 2 :]
        if argument.startswith("--config="):
            return Path(argument.removeprefix("--config=")), (
                arguments[:index] + arguments[index + 1 :]
            )
    return None, arguments


if __name__ == "__main__":
    main()
