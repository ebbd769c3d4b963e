"""Adds attacks to a run, with the model, code and data that it had, wherever its folder lies."""

from pathlib import Path

from palpate.located import relocated
from palpate.pipeline.repeat.opened import opened
from palpate.pipeline.run.run import config_of, evaluate_again
from palpate.pipeline.run_folder.sources import (
    FILE,
    code_is_here,
    code_named,
    read_sources,
)
from palpate.progress import Progress, silent
from palpate.user_code import is_code, module_of


def evaluate_run(
    folder: Path,
    attacks: tuple[str, ...] | None,
    epsilon_255: tuple[float, ...] | None,
    progress: Progress = silent,
) -> Path:
    """Attack the model of a run again, add the rows, and write the report again.

    Args:
        folder: Run folder.
        attacks: Names of the attacks; None for those of the recipe. Those of the user's own that
            the run does not have yet are looked for in the current folder.
        epsilon_255: Radii, in steps of an 8-bit image; None for those of the recipe.
        progress: Called for every batch.

    Returns:
        Path of the page.

    Raises:
        FileNotFoundError: If the folder is not a run folder, or code, data or weights are missing.
        ValueError: If they are not those of the run, or an attack does not exist.
    """
    config = config_of(folder)
    if not (folder / FILE).is_file():  # of an earlier version, which kept no copies
        return evaluate_again(folder, attacks, epsilon_255, progress)
    folder, known = folder.resolve(), read_sources(folder).files
    given = [name for name in attacks or () if is_code(name)]
    modules = {module_of(name)[0] for name in given} - set(known)
    new = {name: Path(name).absolute() for name in modules if name.endswith(".py")}
    # All are checked, so that changed code is refused and not passed over.
    present = [code_is_here(name, folder) for name in (*code_named(config), *given)]
    with opened(folder, stays=all(present)) as here, relocated(new):
        return evaluate_again(folder, attacks, epsilon_255, progress, here)
