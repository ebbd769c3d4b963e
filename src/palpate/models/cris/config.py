"""The configuration of a CRIS, from its weights or from our ``config.json``."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

FAMILY = "cris"
# Fields that weights do not give.
NOT_IN_WEIGHTS = ("size", "threshold", "dropout", "decoder_heads", "compat")

# CLIP's attention heads are this wide everywhere.
_HEAD = 64


@dataclass(frozen=True)
class CrisConfig:
    """Sizes of a CRIS (Wang et al., 2022, https://arxiv.org/abs/2111.15174); defaults: ResNet-50.

    Attributes:
        stages: Bottleneck blocks of the four stages of the image encoder.
        stem: Channels after its stem; the fourth stage has 32 times as many.
        pool_side: Side of the grid that its attention pooling was trained for.
        joint: Width of the space that image and text are projected into.
        text: Width of the text encoder and of the decoder, which attends to its words.
        text_layers: Blocks of the text encoder.
        vocabulary: Number of tokens.
        context: The largest number of tokens of a text; padding is token 0.
        neck: Channels of the three levels in the neck, finest first.
        decoder_layers: Blocks of the decoder.
        decoder_heads: Their attention heads; weights do not give the number.
        decoder_hidden: Width of their MLPs.
        dropout: Dropout probability of the decoder in training.
        size: Side of the square input, in pixels; a multiple of 32.
        threshold: Probability above which a pixel is foreground.
        compat: ``"medvlsm"`` for weights of MedVLSM (Poudel et al., 2024,
            https://arxiv.org/abs/2308.07706), whose tokenizer pads prompts to the whole context
            with the end token, which the decoder then reads as words.
    """

    stages: tuple[int, int, int, int] = (3, 4, 6, 3)
    stem: int = 64
    pool_side: int = 7
    joint: int = 1024
    text: int = 512
    text_layers: int = 12
    vocabulary: int = 49408
    context: int = 77
    neck: tuple[int, int, int] = (256, 512, 1024)
    decoder_layers: int = 3
    decoder_heads: int = 8
    decoder_hidden: int = 2048
    dropout: float = 0.2
    size: int = 416
    threshold: float = 0.35
    compat: str | None = None

    def __post_init__(self) -> None:
        _check_counts(self)
        if self.text != self.neck[1]:
            raise ValueError(
                f"Expected a text encoder as wide as the middle of the neck, got {self.text} and "
                f"{self.neck[1]}: the decoder lets one attend to the other."
            )
        if self.text % self.decoder_heads or self.text % 4:
            raise ValueError(
                f"Expected a text width that 4 and {self.decoder_heads} decoder heads divide, got "
                f"{self.text}."
            )
        if self.size % 32:
            raise ValueError(f"Expected a size that is a multiple of 32 pixels, got {self.size}.")
        if self.compat not in (None, "medvlsm"):
            raise ValueError(f"Expected compat 'medvlsm' or None, got {self.compat!r}.")
        if not isinstance(self.dropout, int | float) or not 0 <= self.dropout < 1:
            raise ValueError(f"Expected a dropout in [0, 1), got {self.dropout!r}.")

    @property
    def image_heads(self) -> int:
        """Attention heads of the image encoder's last layer."""
        return max(1, self.stem * 32 // _HEAD)

    @property
    def text_heads(self) -> int:
        """Attention heads of the text encoder."""
        return max(1, self.text // _HEAD)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "CrisConfig":
        """Read the dictionary of a ``config.json``.

        Raises:
            ValueError: If it is that of another family, or has unknown fields.
        """
        if values.get("model_type") != FAMILY:
            raise ValueError(
                f"Expected the configuration of a CRIS (model_type {FAMILY!r}), got model_type "
                f"{values.get('model_type')!r}."
            )
        given: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        del given["model_type"]
        unknown = given.keys() - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"The configuration of a CRIS has no fields {sorted(unknown)}.")
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """The dictionary for ``config.json``; the inverse of :meth:`from_json`."""
        return {"model_type": FAMILY, **asdict(self)}


def config_of(state: Mapping[str, Tensor], **changes: Any) -> CrisConfig:
    """The configuration that fits a state dict; fields that weights do not give are as published.

    Args:
        state: Tensors under the names of the original.
        changes: Fields that weights do not give, see ``NOT_IN_WEIGHTS``.

    Raises:
        KeyError: If a tensor that gives a size is missing.
        ValueError: If a tensor has another number of axes, or the sizes are not valid.
    """
    vocabulary, text = _shape(state, "backbone.token_embedding.weight", 2)
    neck = [_shape(state, f"neck.f{level}_v_proj.0.weight", 4)[0] for level in (3, 2, 1)]
    places = _shape(state, "backbone.visual.attnpool.positional_embedding", 2)[0]
    sizes: dict[str, Any] = {
        "stages": tuple(
            _count(state, rf"backbone\.visual\.layer{n}\.(\d+)\.") for n in range(1, 5)
        ),
        "stem": _shape(state, "backbone.visual.conv3.weight", 4)[0],
        "pool_side": round(max(0, places - 1) ** 0.5),
        "joint": _shape(state, "backbone.text_projection", 2)[1],
        "text": text,
        "text_layers": _count(state, r"backbone\.transformer\.resblocks\.(\d+)\."),
        "vocabulary": vocabulary,
        "context": _shape(state, "backbone.positional_embedding", 2)[0],
        "neck": tuple(neck),
        "decoder_layers": _count(state, r"decoder\.layers\.(\d+)\."),
        "decoder_hidden": _shape(state, "decoder.layers.0.ffn.0.weight", 2)[0],
    }
    return CrisConfig(**(sizes | changes))


def _check_counts(config: CrisConfig) -> None:
    """Refuse sizes that are not positive integers, or tuples of another length."""
    for each in fields(config):
        if each.name in ("dropout", "threshold", "compat"):
            continue
        value, usual = getattr(config, each.name), each.default
        values, count = (value, len(usual)) if isinstance(usual, tuple) else ((value,), 1)
        fits = isinstance(values, tuple) and len(values) == count
        if not fits or not all(isinstance(v, int) and v >= 1 for v in values):
            raise ValueError(
                f"Expected {each.name} to be {count} whole number{'s' * (count > 1)} of at least "
                f"1, got {value!r}."
            )


def _shape(state: Mapping[str, Tensor], name: str, axes: int) -> torch.Size:
    shape = state[name].shape
    if len(shape) != axes:
        raise ValueError(f"Expected {name} with {axes} axes, got shape {tuple(shape)}.")
    return shape


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """The number of numbered modules."""
    return len({found[1] for name in state if (found := re.match(pattern, name))})
