"""What ``load_model`` was asked for, as a family of models gets to see it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from palpate.errors import did_you_mean

# Here and not with the adapters, so that a request can be read without any network.
AdapterName: TypeAlias = Literal[
    "dense-v", "dense-vl", "dense-vlc", "shallow-v", "shallow-vl", "shallow-vlc",
    "telescopic-v", "telescopic-vl", "telescopic-vlc", "lora-v", "lora-vl",
]  # fmt: skip
AdapterInit: TypeAlias = Literal["identity", "paper"]


@dataclass(frozen=True)
class Request:
    """A name, the files behind it, and what shall be made of them.

    Attributes:
        name: As it was given.
        place: Folder or file of the model; None where the name says it all.
        adapter: See :func:`palpate.models.load_model`, as for those below.
        init: The form of the adapter.
        width: Bottleneck of the adapter.
        tokenizer: Folder of tokenizer files.
        options: Of the family.
        seed: Of every weight that is drawn.
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
        """Folder or file of the model, which a family that reads files always gets."""
        assert self.place is not None
        return self.place

    def check_options(self, known: Collection[str]) -> None:
        """Refuse options that the family does not have.

        Raises:
            ValueError: If there are others than the known ones.
        """
        for name in self.options:
            if name not in known:
                raise ValueError(
                    f"Expected options of {self.name} among {', '.join(known)}, got {name!r}."
                    f"{did_you_mean(name, known)}"
                )

    def portable_options(self, *files: str) -> dict[str, Any]:
        """The options, for the card of a checkpoint: files are found again wherever that is read.

        Args:
            files: Options that name a file, a folder or something on the hub.
        """
        return {k: portable(v) if k in files else v for k, v in self.options.items()}

    def refuse_adapter(self) -> None:
        """Of families without places for adapters.

        Raises:
            ValueError: If one was asked for.
        """
        if self.adapter is not None:
            raise ValueError(
                f"{self.name} has no places for adapters, got adapter {self.adapter!r}. Leave it "
                "out (model.adapter null) and train the whole model (model.learns all)."
            )

    def refuse_tokenizer(self) -> None:
        """Of families that read no text.

        Raises:
            ValueError: If one was given.
        """
        if self.tokenizer is not None:
            raise ValueError(f"{self.name} reads no text; leave tokenizer out.")


def portable(name: str | Path) -> str:
    """An absolute path, if it is one at all; what the hub has keeps its name."""
    return str(Path(name).resolve()) if Path(name).exists() else str(name)
