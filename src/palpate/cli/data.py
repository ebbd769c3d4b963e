"""``palpate data``: prepare, check, show and split data sets, and write their prompts."""

import sys
from pathlib import Path
from typing import Literal

import tyro

from palpate.cli.commands import UsageError
from palpate.cli.json_output import check_target, give
from palpate.cli.mappings import IgnoredWords, MaskWords
from palpate.cli.progress_bars import show_progress


def check(
    name: tyro.conf.Positional[tuple[str, ...]],
    root: Path | None = None,
    json: Path | None = None,
    names_only: bool = False,
    mask_values: MaskWords = (),
    mask_ignore: IgnoredWords = (),
) -> None:
    """Look for errors in data sets; the exit status is 1 if there are any.

    Several data sets are also compared with each other. Exit status 2: there is no such data set.

    Args:
        name: Names or folders of data sets; `folder` for your own data set at --root.
        root: Folder that holds the data sets; by default $PALPATE_DATA, or else data/.
        json: Print the outcome as JSON, or write it to this file.
        names_only: Check the lists of files only, without opening images and masks; takes seconds
            instead of minutes.
        mask_values: Values of the structures in the masks (`127`, or `255=tumour 127=liver`), if
            these are not binary.
        mask_ignore: Values of pixels to ignore, such as `255`.
    """
    from rich.console import Console

    from palpate.cli.tables.data_check import check_data, print_report
    from palpate.pipeline.recipe.masks import MaskConfig

    if not name:
        raise UsageError(
            "Expected a data set to check, by name or folder, got none. See `palpate data check "
            "--help`."
        )
    try:
        with show_progress() as progress:
            check_target(json)
            structures = MaskConfig(mask_values, mask_ignore).structures
            report = check_data(
                name, root, structures=structures, pixels=not names_only, progress=progress
            )
    except (ValueError, OSError) as error:
        print(f"palpate: {error}", file=sys.stderr)
        sys.exit(2)
    give(report.as_json, lambda: print_report(report, Console()), json)
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
    """Split a data set again, by patient and with lesions of all sizes in every split.

    Writes the lists to a folder below anns/; select them with `--data.annotations NAME`.

    Args:
        name: Name or folder of the data set.
        root: Folder that holds the data set; by default $PALPATE_DATA, or else data/.
        seed: Seed of the random split.
        fractions: Fractions of train, val and test.
        folds: Number of folds for cross-validation, instead of fractions.
        stratify: An annotated property, such as `pathology`, to distribute evenly as well.
        published: Use the published split, with its errors corrected, instead of a random one.
        to: Name of the new lists; by default `seed-0`, `seed-0-folds-5` or `published`.
    """
    from palpate.data.locate import locate
    from palpate.data.splits.folder import Division, split_folder

    found = locate(name, root)
    drawn = f"seed-{seed}" if folds is None else f"seed-{seed}-folds-{folds}"
    division = Division(seed, fractions, folds, stratify, published)
    with show_progress() as progress:
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
        name: Name or folder of the data set, or `hf:NAME_OR_DIR` for one of Hugging Face.
        root: Folder that holds the data set; by default $PALPATE_DATA, or else data/.
        out: PNG file to write; by default NAME-SPLIT.png in the current directory.
        split: train, val, test or all.
        count: Number of images.
        prompt: Prompt level (p1, p2, ...), or `random`.
        annotations: Folder below anns/ that has another split of the same data.
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
    split_as: Literal["", "train", "val", "test"] = "",
    workers: int | None = None,
    options: dict[str, str] | None = None,
    mask_values: MaskWords = (),
    mask_ignore: IgnoredWords = (),
) -> None:
    """Convert the official download of a data set to a folder that palpate reads.

    Run the same command again to continue after an interruption, or to update what has changed.

    Args:
        name: Name of the data set, such as `kvasir`; for a wrong name all are listed.
        source: The download: a folder, a zip or tar archive, or a folder of several archives.
        out: Folder in which a folder for the data set is made; the --root of other commands.
        seed: Seed of the random splits, for data sets that come without splits.
        split_as: Put everything into one split, such as `test` for a test set of one patient; by
            default the official splits, or random ones by patient.
        workers: Images converted at the same time; by default one per core.
        options: Options of some data sets, as NAME VALUE ..., such as `structure "liver tumour"`,
            or `channel 0 nan background` for volumes.
        mask_values: Values of the structure in your masks (`127`), or a name for each of several
            structures (`255=tumour 127=liver`), if the masks are not binary (`pairs` only).
        mask_ignore: Values of pixels to ignore, such as `255` (`pairs`, `mask2d`).
    """
    from palpate.cli.tables.data_prepare import plain_warnings, print_summary
    from palpate.data.prepare import prepare as prepare_set
    from palpate.pipeline.recipe.masks import MaskConfig

    with plain_warnings() as told, show_progress() as progress:
        folder = prepare_set(
            name,
            source,
            out,
            seed=seed,
            workers=workers,
            progress=progress,
            options={**MaskConfig(mask_values, mask_ignore).options, **(options or {})},
            split_as=split_as,
        )
    print(folder)
    print_summary(folder, told)


def prompts(
    folder: tyro.conf.Positional[Path],
    templates: Path | None = None,
    annotations: Path | None = None,
    dataset: str | None = None,
    structure: str | None = None,
    synonyms: int = 0,
    places: Literal["true", "published"] = "true",
) -> None:
    """Write the prompts of a data set again, or import them from published annotations.

    Args:
        folder: Folder of the data set, with images/, masks/ and anns/.
        templates: YAML file with your templates: a text or a list of texts for p1, p2, ...
        annotations: Published JSON file, or a folder of them; prompts are matched by mask name.
        dataset: Data set whose wording is used; by default that of the folder.
        structure: What all masks show, such as `polyp`; by default as the annotations say.
        synonyms: Number of further phrasings of each text, made with medical synonyms.
        places: Meaning of left, right and centre: `true` for thirds of the image, `published` as
            in the published annotations, see docs/prompts.md.
    """
    from palpate.data.prompts import import_prompts, rewrite_prompts
    from palpate.data.wording import PUBLISHED, TRUE

    if annotations is not None:
        if templates or dataset or structure or synonyms or places != "true":
            raise ValueError("Expected --annotations alone: it brings whole texts. Run twice.")
        print(import_prompts(folder, annotations))
        return
    with show_progress() as progress:
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
