"""The arguments of ``load_model``, as the loader of a family gets them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from palpate.errors import did_you_mean

# Not in the module of the adapters, so that a request can be read without importing a network.
AdapterName: TypeAlias = Literal[
    "dense-v", "dense-vl", "dense-vlc", "shallow-v", "shallow-vl", "shallow-vlc",
    "telescopic-v", "telescopic-vl", "telescopic-vlc", "lora-v", "lora-vl",
]  # fmt: skip
AdapterInit: TypeAlias = Literal["identity", "paper"]


@dataclass(frozen=True)
class Request:
    """A model's name, its files, and how to load it.

    Attributes:
        name: As the user gave it.
        place: Folder or file of the model; None if the model has no files.
        adapter: Name of an adapter, see :func:`palpate.models.load_model` for this and the rest.
        init: Initialisation and form of the adapter.
        width: Bottleneck of the adapter.
        tokenizer: Folder of tokenizer files.
        options: Options of the family.
        seed: Of all weights that are drawn at random.
    """

    name: str
    place: Path | None = None
    adapter: AdapterName | None = None
    init: AdapterInit = "identity"
    width: int | None = None
    tokenizer: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    @property
    def folder(self) -> Path:
        """Folder or file of the model, for families that read files."""
        assert self.place is not None
        return self.place

    def check_options(self, known: Collection[str]) -> None:
        """Refuse unknown options.

        Args:
            known: The options of the family.

        Raises:
            ValueError: If another one is given.
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
            files: Options that name a file, a folder or a model on the hub.
        """
        return {k: portable(v) if k in files else v for k, v in self.options.items()}

    def refuse_adapter(self) -> None:
        """For families without adapters.

        Raises:
            ValueError: If an adapter was asked for.
        """
        if self.adapter is not None:
            raise ValueError(
                f"{self.name} has no places for adapters, got adapter {self.adapter!r}. Leave it "
                "out (model.adapter null) and train the whole model (model.learns all)."
            )

    def refuse_tokenizer(self) -> None:
        """For families without a text encoder.

        Raises:
            ValueError: If a tokenizer was given.
        """
        if self.tokenizer is not None:
            raise ValueError(f"{self.name} reads no text; leave tokenizer out.")


def portable(name: str | Path) -> str:
    """The absolute path of a file or folder that exists; any other name, as of the hub, as is."""
    return str(Path(name).resolve()) if Path(name).exists() else str(name)
