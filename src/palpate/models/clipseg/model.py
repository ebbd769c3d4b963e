"""CLIPSeg as a palpate model, prompted with text or with an example image."""

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
        adapter: Name of the adapter, with ``adapter_init`` and ``adapter_width``; None without.
        options: Options of ``load_model``, for the card of a checkpoint.
        seed: Of the adapter's initial weights.
        example: Example image that is the prompt in place of texts; None for texts.
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
        """Preprocessing and configuration, and the hash of the example image."""
        shown = {} if self.example is None else {"example": fingerprint({"": self.example})}
        return {**super().traits, **shown}

    def learners(self, what: Learns) -> list[nn.Parameter]:
        """The adapters, the adapters and the decoder, or all parameters."""
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
        """Use an example image as the prompt from now on; texts are then ignored.

        Args:
            image: One image ``(1, 3, h, w)``, RGB in [0, 1].
            mask: The object in it, see :func:`palpate.models.clipseg.visual_prompt.highlighted`;
                None for the whole image.

        Raises:
            ValueError: If it is not one image, or the mask does not fit it or is empty.
        """
        if len(image) != 1:
            raise ValueError(f"Expected one example, got {len(image)} images.")
        image = image.to(self.device)
        self.example = image if mask is None else highlighted(image, mask, self.mean)
        self.text_conditioned = False

    def conditions_for(
        self, prompts: Sequence[str] | Int64[Tensor, "b n"] | None, images: int
    ) -> Float[Tensor, "b d"]:
        """The condition of each image: of its prompt, or of the example image."""
        if self.example is None:
            return super().conditions_for(prompts, images)
        shown = self.shown(self.example.to(self.device))
        return shown.expand(images, -1)

    def shown(self, examples: Images) -> Float[Tensor, "b d"]:
        """Conditions from example images, one row each, in place of prompts."""
        condition: Tensor = self.net.condition_from(self.to_network(examples))
        return condition
