"""A CLIPSeg as the rest of palpate sees it, prompted by text or by an example."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor, nn

from palpate.models.clipseg.adapters import adapter_state
from palpate.models.clipseg.clipseg import CLIPSeg
from palpate.models.clipseg.visual_prompt import highlighted
from palpate.models.files.weights import fingerprint
from palpate.models.pixel_model import Learns
from palpate.models.request import AdapterInit, AdapterName
from palpate.models.text_prompted import TextPrompted
from palpate.types import Images, Masks


class VLSM(TextPrompted):
    """CLIPSeg in pixel space, see :class:`palpate.models.text_prompted.TextPrompted`.

    Attributes:
        adapter: What was put into the network by ``load_model``, with ``adapter_init`` and
            ``adapter_width``; None where it has no adapter.
        options: What else ``load_model`` was told, for the card of a checkpoint.
        seed: That the adapter's first weights were drawn from.
        example: Image that is shown in place of texts; None where texts are read.
    """

    net: CLIPSeg
    tower = "vision_model."
    adapter: AdapterName | None = None
    adapter_init: AdapterInit = "identity"
    adapter_width: int | None = None
    options: Mapping[str, Any] = {}
    seed: int = 0
    example: Tensor | None = None

    @property
    def set_up(self) -> Mapping[str, Any]:
        """The adapter, as a checkpoint's card describes it."""
        return {
            "adapter": self.adapter,
            "adapter_init": self.adapter_init,
            "adapter_width": self.adapter_width,
            **({"options": dict(self.options)} if self.options else {}),
            **({"seed": self.seed} if self.adapter is not None and self.seed else {}),
        }

    @property
    def traits(self) -> Mapping[str, Any]:
        """Also what it is shown in place of prompts."""
        shown = {} if self.example is None else {"example": fingerprint({"": self.example})}
        return {**super().traits, **shown}

    def learners(self, what: Learns) -> list[nn.Parameter]:
        """The adapters alone, with the decoder, or everything."""
        if what == "all":
            return list(self.net.parameters())
        adapters = adapter_state(self.net).keys()
        if what == "adapters" and not adapters:
            raise ValueError(
                f"{self.name} has no adapter that could learn; load it with adapter='dense-vl', "
                "or let the decoder or all of it learn."
            )
        decoder = ("decoder.",) if what == "decoder" else ()
        return [p for n, p in self.net.named_parameters() if n in adapters or n.startswith(decoder)]

    def show(self, image: Images, mask: Masks | None = None) -> None:
        """Ask for what an example shows, from now on, in place of prompts, which are ignored.

        Args:
            image: One image ``(1, 3, h, w)``, RGB in [0, 1].
            mask: What in it is meant, see :func:`palpate.models.clipseg.visual_prompt.highlighted`;
                None for all.

        Raises:
            ValueError: If it is not one image, or the mask does not fit it or is empty.
        """
        if len(image) != 1:
            raise ValueError(f"Expected one example, got {len(image)} images.")
        image = image.to(self.device)
        self.example = image if mask is None else highlighted(image, mask, self.mean)
        self.text_conditioned = False

    def asked(
        self, prompts: Sequence[str] | Int64[Tensor, "b n"] | None, images: int
    ) -> Float[Tensor, "b d"]:
        """What so many images are asked for: their prompts, or what the example shows."""
        if self.example is None:
            return super().asked(prompts, images)
        shown = self.shown(self.example.to(self.device))
        return shown.expand(images, -1)

    def shown(self, examples: Images) -> Float[Tensor, "b d"]:
        """What examples show, one row each, for ``condition`` in place of prompts."""
        condition: Tensor = self.net.condition_from(self.to_network(examples))
        return condition
