"""``palpate demo``: the whole job in minutes, without any files."""

from dataclasses import dataclass
from pathlib import Path

from palpate.cli.recipes import make
from palpate.pipeline.demo import DEFAULT, OwnData, demo_config


@dataclass(frozen=True)
class Demo:
    """Fine-tune, attack and report the embedded model in minutes, on drawn images or your own."""

    modality: str = DEFAULT
    """endoscopy, dermoscopy or echo: which phantoms; not with images of your own."""
    fast: bool = False
    """Less of everything, in less than a minute."""
    images: Path | None = None
    """Folder of images of your own."""
    masks: Path | None = None
    """Folder of their masks, called like the images."""
    prompt: str | None = None
    """What the masks outline, such as "polyp"."""
    out: Path | None = None
    """Run folder; by default palpate-demo-MODALITY in the current directory."""

    def __call__(self) -> None:
        make(demo_config(self.modality, fast=self.fast, own=self._own(), out=self.out))

    def _own(self) -> OwnData | None:
        if self.images and self.masks and self.prompt:
            return OwnData(self.images, self.masks, self.prompt)
        if self.images or self.masks or self.prompt:
            raise ValueError(
                "Expected --images DIR, --masks DIR and --prompt TEXT together for data of your "
                "own, or none of them for phantoms."
            )
        return None
