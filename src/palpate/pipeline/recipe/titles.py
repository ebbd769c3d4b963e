"""Names the user's own data after their folder, for rows, tables and pages."""

from dataclasses import replace
from pathlib import Path

from palpate.data import PAIRS
from palpate.pipeline.recipe.config import OWN, DataConfig, RunConfig
from palpate.pipeline.recipe.reading import read_config

_GENERIC = ("images", "image", "imgs", "img")  # names that say nothing about their content


def name_of(folder: Path) -> str:
    """Name of an image folder, or of its parent if the folder is just called ``images``.

    >>> name_of(Path("/clinic/polyps/images")), name_of(Path("/clinic/polyps"))
    ('polyps', 'polyps')
    """
    full = folder.resolve()
    chosen = full.parent if full.name.lower() in _GENERIC else full
    return chosen.name or full.name or PAIRS


def title_of(data: DataConfig) -> str | None:
    """Title of the user's own data, by default the name of their folder; None for other data."""
    folder = data.images if data.name == PAIRS else data.root
    if data.title or data.name not in OWN or data.test_name or folder is None:
        return data.title
    return name_of(folder)


def titled(config: RunConfig, recipe: DataConfig | None = None) -> RunConfig:
    """Give the user's own data of a run a title, if they have none.

    A run that is continued keeps its title: its rows have it, and the folder may have moved.

    Args:
        config: The run.
        recipe: The data in its recipe. If the recipe itself names own data, nothing is changed: the
            same recipe gives the same rows wherever the data lie.
    """
    data, stored = config.data, config.folder / "config.yaml"
    if data.title or data.name not in OWN or (recipe is not None and recipe.name == data.name):
        return config
    title = read_config(stored).data.title if stored.is_file() else title_of(data)
    return replace(config, data=replace(data, title=title))
