"""CLIPSeg as a palpate model, prompted with text or with an example image."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor, nn

from palpate.errors import did_you_mean
from palpate.models.clipseg.adapters import adapter_state
from palpate.models.clipseg.authors_options import OPTIONS as AUTHORS
from palpate.models.clipseg.clipseg import CLIPSeg
from palpate.models.clipseg.visual_prompt import DEFAULT, HIGHLIGHTS, marked
from palpate.models.files.weights import fingerprint
from palpate.models.pixel_model import Learns
from palpate.models.request import AdapterInit, AdapterName
from palpate.models.text_prompted import TextPrompted
from palpate.types import Images, Masks


class VLSM(TextPrompted):
    """CLIPSeg with its preprocessing, see :class:`palpate.models.text_prompted.TextPrompted`.

    Attributes:
        adapter: Name of the adapter; None without adapters.
        adapter_init: Form of the adapter.
        adapter_width: Width of the adapter's bottleneck; None for the published width.
        options: Options of ``load_model``, for the card of a checkpoint.
        seed: Seed of the adapter's initial weights.
        example: Example image used as the prompt; None if the model is prompted with text.
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
        """Adapter, options and seed, as fields of a checkpoint's card."""
        return {
            "adapter": self.adapter,
            "adapter_init": self.adapter_init,
            "adapter_width": self.adapter_width,
            **({"options": dict(self.options)} if self.options else {}),
            **({"seed": self.seed} if self.adapter is not None and self.seed else {}),
        }

    @property
    def traits(self) -> Mapping[str, Any]:
        """Preprocessing, given options of the decoder, and the hash of an example image."""
        shown = {} if self.example is None else {"example": fingerprint({"": self.example})}
        decoder = {name: self.options[name] for name in AUTHORS if name in self.options}
        return {**super().traits, **({"decoder": decoder} if decoder else {}), **shown}

    def learners(self, what: Learns) -> list[nn.Parameter]:
        """The parameters of the adapters, of the adapters and the decoder, or all parameters."""
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

    def show(self, image: Images, mask: Masks | None = None, highlight: str = DEFAULT) -> None:
        """Use an example image as the prompt from now on; text prompts are then ignored.

        Args:
            image: One RGB image ``(1, 3, h, w)`` in [0, 1].
            mask: Mask ``(1, 1, h, w)`` of the object, which is highlighted, see
                :func:`palpate.models.clipseg.visual_prompt.highlighted`; None to use the whole
                image.
            highlight: How it is highlighted, one of
                :data:`palpate.models.clipseg.visual_prompt.HIGHLIGHTS`.

        Raises:
            ValueError: If there is not exactly one image, the mask has another size or is empty, or
                there is no such highlight.
        """
        if len(image) != 1:
            raise ValueError(f"Expected one example, got {len(image)} images.")
        image = image.to(self.device)
        if highlight not in HIGHLIGHTS:
            raise ValueError(
                f"Expected highlight to be one of {', '.join(HIGHLIGHTS)}, got {highlight!r}."
                f"{did_you_mean(str(highlight), HIGHLIGHTS)}"
            )
        if mask is not None:
            image = marked(image, mask, HIGHLIGHTS[highlight], self.mean, self.std)
        self.example = image
        self.text_conditioned = False

    def conditions_for(
        self, prompts: Sequence[str] | Int64[Tensor, "b n"] | None, images: int
    ) -> Float[Tensor, "b d"]:
        """The condition for each image, from its prompt or from the example image."""
        if self.example is None:
            return super().conditions_for(prompts, images)
        shown = self.shown(self.example.to(self.device))
        return shown.expand(images, -1)

    def shown(self, examples: Images) -> Float[Tensor, "b d"]:
        """Conditions computed from example images in place of prompts, one row per image."""
        condition: Tensor = self.net.condition_from(self.to_network(examples))
        return condition
