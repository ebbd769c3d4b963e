"""Plugins: attacks, losses, metrics, models and data sets from installed packages.

A package registers a plugin by an entry point of the group ``palpate.plugins``. The entry point may
have any name. Its value is a module or object with any of these dictionaries::

    # pyproject.toml
    [project.entry-points."palpate.plugins"]
    my-lab = "my_lab.palpate_plugin"

    # my_lab/palpate_plugin.py
    ATTACKS = {"my_pgd": my_pgd}          # as palpate.attacks.ATTACKS
    LOSSES = {"my_loss": my_loss}         # as palpate.attacks.LOSSES
    METRICS = {"my_score": Metric(...)}   # or a bare function; as palpate.metrics.METRICS
    FAMILIES = {"my-net": Family(...)}    # as palpate.models.FAMILIES
    DATASETS = {"my-set": DatasetSpec(...)}  # as palpate.data.DATASETS

These names then work wherever palpate's own names do. Plugins are imported once: when names are
listed, or when a name is looked up that palpate does not have. A plugin that cannot be imported is
skipped with a warning that names its package. A name that palpate or another plugin already has is
an error.
"""

import importlib.metadata
import warnings
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from functools import cache
from typing import Any, TypeVar

GROUP = "palpate.plugins"
KINDS = ("ATTACKS", "LOSSES", "METRICS", "FAMILIES", "DATASETS")

Thing = TypeVar("Thing")


class PluginWarning(UserWarning):
    """An installed plugin cannot be imported and is skipped."""


class Registry(dict[str, Thing]):
    """A dictionary of palpate's entries of one kind, extended by those of plugins.

    Plugins are imported as late as possible, because they import palpate, which must be fully
    imported by then. Looking up one of palpate's own names does not import them.

    Args:
        kind: Name of the dictionary in plugins, one of :data:`KINDS`.
        own: Entries of palpate itself.
        convert: Maps the name and object from a plugin to the entry of the registry; None keeps
            the object.

    Attributes:
        own: Entries of palpate itself, without plugins.
    """

    def __init__(
        self,
        kind: str,
        own: Mapping[str, Thing],
        convert: Callable[[str, Any], Thing] | None = None,
    ) -> None:
        super().__init__(own)
        self.kind, self.own, self._convert = kind, dict(own), convert
        self._is_complete = False

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or super(Registry, self._complete()).__contains__(name)

    def __missing__(self, name: str) -> Thing:
        if not self._is_complete:
            return self._complete()[name]
        raise KeyError(name)

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default

    def __iter__(self) -> Iterator[str]:
        return super(Registry, self._complete()).__iter__()

    def __len__(self) -> int:
        return super(Registry, self._complete()).__len__()

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        return super(Registry, self._complete()).keys()

    def values(self) -> ValuesView[Thing]:  # type: ignore[override]
        return super(Registry, self._complete()).values()

    def items(self) -> ItemsView[str, Thing]:  # type: ignore[override]
        return super(Registry, self._complete()).items()

    def _complete(self) -> "Registry[Thing]":
        """Add the entries of plugins, once, and return the registry itself.

        Raises:
            ValueError: If a plugin uses a name that is already taken.
        """
        if self._is_complete:
            return self
        self._is_complete = True  # first, because a plugin may look into the registry
        try:
            self.update(self._added())
        except ValueError:
            self._is_complete = False  # so that the next use raises the error again
            raise
        return self

    def _added(self) -> dict[str, Thing]:
        found: dict[str, Thing] = {}
        owners = dict.fromkeys(self.own, "palpate")
        for package, plugin in _loaded():
            for name, thing in _registered(plugin, self.kind, package):
                if name in owners:
                    raise ValueError(
                        f"The plugin package {package} registers {name!r} in {self.kind}, but that "
                        f"name is taken by {owners[name]}. Rename it there, or uninstall one."
                    )
                found[name] = thing if self._convert is None else self._convert(name, thing)
                owners[name] = package
        return found


def _registered(plugin: object, kind: str, package: str) -> Iterator[tuple[str, Any]]:
    things = getattr(plugin, kind, {})
    if not isinstance(things, Mapping):
        raise ValueError(
            f"Expected {kind} of the plugin package {package} to be a dictionary of names, got a "
            f"{type(things).__name__}."
        )
    yield from things.items()


@cache
def _loaded() -> tuple[tuple[str, object], ...]:
    """Import the plugins, once; return those that can be imported, with their package names."""
    found = []
    points = importlib.metadata.entry_points(group=GROUP)
    # Sorted by name, so that the order of plugins is the same on every machine.
    for point in sorted(points, key=lambda point: point.name):
        package = point.dist.name if point.dist is not None else point.name
        try:
            found.append((package, point.load()))
        except Exception as error:  # third-party code may raise anything
            warnings.warn(
                f"The palpate plugin {point.name!r} of package {package} is left out, because "
                f"{point.value} cannot be imported: {type(error).__name__}: {error}",
                PluginWarning,
                stacklevel=2,
            )
    return tuple(found)
