"""The arguments of ``load_model``, as they are passed to the loader of a family."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from palpate.errors import did_you_mean

# Defined here and not with the adapters, so that importing this module imports no network.
AdapterName: TypeAlias = Literal[
    "dense-v", "dense-vl", "dense-vlc", "shallow-v", "shallow-vl", "shallow-vlc",
    "telescopic-v", "telescopic-vl", "telescopic-vlc", "lora-v", "lora-vl",
]  # fmt: skip
AdapterInit: TypeAlias = Literal["identity", "paper"]


@dataclass(frozen=True)
class Request:
    """A request to load a model: its name, its files, and options.

    Most attributes are arguments of :func:`palpate.models.load_model`.

    Attributes:
        name: Name of the model, as the user gave it.
        place: Folder or file of the model; None if the model needs no files.
        adapter: Name of the adapter; None for no adapter.
        init: Initialisation and form of the adapter.
        width: Width of the adapter's bottleneck; None for the published width.
        tokenizer: Folder with tokenizer files, in place of the model's own.
        options: Options of the family.
        seed: Seed of all randomly initialised weights.
        trust_code: Whether files may run code of their own.
    """

    name: str
    place: Path | None = None
    adapter: AdapterName | None = None
    init: AdapterInit = "identity"
    width: int | None = None
    tokenizer: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    trust_code: bool = False

    @property
    def folder(self) -> Path:
        """Folder or file of the model; only valid for families that read files."""
        assert self.place is not None
        return self.place

    def check_options(self, known: Collection[str]) -> None:
        """Raise an error if an option is unknown.

        Args:
            known: The options of the family.

        Raises:
            ValueError: If an option is not in ``known``.
        """
        for name in self.options:
            if name not in known:
                raise ValueError(
                    f"Expected options of {self.name} among {', '.join(known)}, got {name!r}."
                    f"{did_you_mean(name, known)}"
                )

    def portable_options(self, *files: str) -> dict[str, Any]:
        """The options with absolute paths, for the card of a checkpoint.

        Args:
            files: Names of the options whose values are files, folders or hub names.
        """
        return {k: portable(v) if k in files else v for k, v in self.options.items()}

    def refuse_adapter(self) -> None:
        """Raise an error if an adapter is requested; called by families without adapters.

        Raises:
            ValueError: If an adapter is requested.
        """
        if self.adapter is not None:
            raise ValueError(
                f"{self.name} has no places for adapters, got adapter {self.adapter!r}. Leave it "
                "out (model.adapter null) and train the whole model (model.learns all)."
            )

    def refuse_tokenizer(self) -> None:
        """Raise an error if a tokenizer is given; called by families without a text encoder.

        Raises:
            ValueError: If a tokenizer is given.
        """
        if self.tokenizer is not None:
            raise ValueError(f"{self.name} reads no text; leave tokenizer out.")


def portable(name: str | Path) -> str:
    """Make the path of an existing file or folder absolute; other names are returned unchanged."""
    return str(Path(name).resolve()) if Path(name).exists() else str(name)
