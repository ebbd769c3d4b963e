"""``palpate models``: cards of models, and whether one can be attacked."""

import tyro

from palpate.cli.mappings import values
from palpate.models.request import AdapterName


def models(
    names: tyro.conf.Positional[tuple[str, ...]] = (),
    adapter: AdapterName | None = None,
    options: dict[str, str] | None = None,
) -> None:
    """Print the cards of models: sizes, threshold, whether gradients reach the pixels, licence.

    Args:
        names: Names, folders or code (module:function); by default all that come with palpate.
        adapter: To put into them.
        options: Of the family, as NAME VALUE ...; values are read as YAML.
    """
    from palpate.cli.tables.models import show_models

    show_models(names, adapter, values(options))


def check_model(
    name: tyro.conf.Positional[str],
    adapter: AdapterName | None = None,
    options: dict[str, str] | None = None,
    prompts: tuple[str, ...] = (),
    size: int = 224,
) -> None:
    """Check that a model can be attacked: gradient, determinism, independence of images, mode.

    Args:
        name: Name, folder or code (module:function).
        adapter: To put into it.
        options: Of the family, as NAME VALUE ...; values are read as YAML.
        prompts: To ask with; by default those of the phantoms it is tried on.
        size: Side of the images, in pixels.
    """
    from palpate.cli.tables.models import check_model

    if not check_model(name, adapter, values(options), prompts, size):
        raise ValueError(f"{name} is not fit to be attacked; see what failed above.")
