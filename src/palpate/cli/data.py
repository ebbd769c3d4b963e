"""``palpate data``: prepare, check, show, divide and word data sets."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import tyro

from palpate.cli.parsing import UsageError
from palpate.pipeline import watching


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

    from palpate.cli.tables.data_check import check_data, print_report

    if not name:
        raise UsageError(
            "Expected a data set to check, by name or folder, got none. See `palpate data check "
            "--help`."
        )
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
        name: Data set, by name, by folder or `hf:NAME_OR_DIR`.
        root: Folder that holds it; by default $PALPATE_DATA, or else data/.
        out: PNG to write; by default NAME-SPLIT.png here.
        split: train, val or test.
        count: How many images.
        prompt: Prompt level, or `random`.
        annotations: Folder below anns/ that has another division.
        seed: Picks the images.
    """
    from palpate.cli.tables.data_show import show_samples

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
    from palpate.data.prompts import import_prompts, rewrite_prompts
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


COMMANDS: dict[str, Callable[..., None]] = {
    "prepare": prepare,
    "check": check,
    "show": show,
    "prompts": prompts,
    "split": split,
}
