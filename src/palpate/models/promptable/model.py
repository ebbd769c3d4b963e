"""Base class of the promptable networks from transformers."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from palpate.models.files.weights import fingerprint
from palpate.models.pixel_model import Learns, PixelModel, check_threshold
from palpate.models.preprocessing import Preprocessing
from palpate.models.promptable.canvas import Canvas
from palpate.models.promptable.placing import Placing
from palpate.models.wrap.output_checks import check_differentiable
from palpate.types import Images, Logits

# Random frequencies of position embeddings: their authors do not train them, although they are
# parameters in transformers.
_CONSTANT = ".positional_embedding"


class Promptable(PixelModel):
    """Base class of networks from transformers, wrapped together with their preprocessing.

    Subclasses define how the network is prompted.

    Args:
        net: The network.
        preprocessing: Input size, mean and standard deviation.
        padded: Whether images keep their aspect ratio, see :class:`Canvas`.
        placing: Margin and jitter of the boxes.
        threshold: Probability above which a pixel is foreground.
        name: Name, folder or file from which the model was loaded.
        options: Options of ``load_model``, for the card of a checkpoint.
        seed: Seed of the jitter.
        licence: Licence of the weights.
    """

    tower = "vision_encoder."
    decoder = "mask_decoder."
    fresh = False

    def __init__(
        self,
        net: nn.Module,
        preprocessing: Preprocessing,
        *,
        padded: bool,
        placing: Placing,
        threshold: float = 0.5,
        name: str = "",
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
        licence: str = "not stated",
    ) -> None:
        super().__init__()
        assert preprocessing.size is not None
        self.net, self.preprocessing, self.placing = net, preprocessing, placing
        self.canvas = Canvas(preprocessing.size, padded)
        self.threshold, self.name = check_threshold(threshold), name
        self.options, self.seed = dict(options or {}), seed
        self.licence, self.origin = licence, name
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1), False)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1), False)
        # The settings change the output, so they are hashed with the weights, as a buffer.
        made = f"{preprocessing} {padded} {placing} {sorted(self.options.items())}"
        self.digest: Tensor
        self.register_buffer("digest", torch.tensor(list(sha256(made.encode()).digest())).byte())
        self.base_hash = fingerprint(self.state_dict())

    def on_canvas(
        self, images: Images, answer: Callable[[Images], Float[Tensor, "b 1 rows columns"]]
    ) -> Logits:
        """Compute logits on the network's square input, and resize them to the images.

        Args:
            images: RGB images ``(b, 3, h, w)`` in [0, 1], of any size.
            answer: Function from the square input to logits of the whole square, at any
                resolution.

        Returns:
            Logits ``(b, 1, h, w)`` at the size of the images, in float32.

        Raises:
            RuntimeError: If a gradient is needed and the network's output has none.
        """
        logits = answer(self.canvas.put(images, self.mean, self.std))
        learning = images.requires_grad or any(p.requires_grad for p in self.net.parameters())
        check_differentiable(logits, torch.is_grad_enabled() and learning, self.name)
        return self.canvas.take(logits.float(), (images.shape[2], images.shape[3]))

    @property
    def set_up(self) -> Mapping[str, Any]:
        """Options and seed that the model was loaded with."""
        return {"options": self.options, "seed": self.seed}

    def learners(self, what: Learns) -> list[nn.Parameter]:
        """All trainable parameters, or those of the mask decoder."""
        if what == "adapters":
            raise ValueError(
                f"{self.name} has no adapters that could learn; let decoder or all of it learn."
            )
        begins = self.decoder if what == "decoder" else ""
        return [
            p
            for name, p in self.net.named_parameters()
            if name.startswith(begins) and not name.endswith(_CONSTANT)
        ]
