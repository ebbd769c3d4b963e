"""``palpate models``: list the models that can be loaded, and test whether one can be attacked."""

from dataclasses import asdict
from pathlib import Path

import tyro

from palpate.cli.json_output import give
from palpate.cli.mappings import values
from palpate.models.request import AdapterName


def models(
    names: tyro.conf.Positional[tuple[str, ...]] = (),
    adapter: AdapterName | None = None,
    options: dict[str, str] | None = None,
    trust_code: bool = False,
    json: Path | None = None,
) -> None:
    """List models: parameters, input size, threshold, gradient, weights and licence.

    `palpate models check NAME` tests whether a model can be attacked.

    Args:
        names: Names, folders, files or code (module:function); by default all that come with
            palpate.
        adapter: Adapter to insert into them.
        options: Options of the model family, as NAME VALUE ...; values are read as YAML.
        trust_code: Let files run code of their own, such as the expressions in a MONAI bundle.
        json: Print the list as JSON, or write it to this file.
    """
    from palpate.cli.tables.models import listed_models, models_as_values, show_models

    found = listed_models(names, adapter, values(options), trust_code=trust_code)
    give(lambda: models_as_values(found), lambda: show_models(found, families=not names), json)


def check(
    name: tyro.conf.Positional[str],
    adapter: AdapterName | None = None,
    options: dict[str, str] | None = None,
    prompts: tuple[str, ...] = (),
    size: int = 224,
    trust_code: bool = False,
    json: Path | None = None,
) -> None:
    """Test whether a model can be attacked: gradient, determinism, independence of images.

    Args:
        name: Name, folder, file or code (module:function).
        adapter: Adapter to insert into it.
        options: Options of the model family, as NAME VALUE ...; values are read as YAML.
        prompts: Prompts for the test images; by default those that belong to the images.
        size: Side of the test images, in pixels.
        trust_code: Let files run code of their own, such as the expressions in a MONAI bundle.
        json: Print the checks as JSON, or write them to this file.
    """
    from palpate.cli.tables.models import check_model, show_checks

    results = check_model(name, adapter, values(options), prompts, size, trust_code=trust_code)
    passed = all(result.status != "fail" for result in results)
    plain = {"model": name, "passed": passed, "checks": list(map(asdict, results))}
    give(lambda: plain, lambda: show_checks(name, results), json)
    if not passed:
        raise ValueError(f"{name} cannot be attacked reliably; see the failed checks above.")
