"""Configuration of a CRIS, inferred from its weights or read from palpate's ``config.json``."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

FAMILY = "cris"
# Fields that cannot be inferred from the weights.
NOT_IN_WEIGHTS = ("size", "threshold", "dropout", "decoder_heads", "compat")

# Width of an attention head in all CLIP models.
_HEAD = 64


@dataclass(frozen=True)
class CrisConfig:
    """Configuration of a CRIS (Wang et al., 2022, https://arxiv.org/abs/2111.15174).

    The defaults are those of CRIS with a ResNet-50.

    Attributes:
        stages: Number of bottleneck blocks in each of the image encoder's four stages.
        stem: Channels after the image encoder's stem; the fourth stage has 32 times as many.
        pool_side: Side of the feature grid for which the attention pooling was trained.
        joint: Width of the joint embedding space of images and texts.
        text: Width of the text encoder and the decoder, which attends to the word features.
        text_layers: Number of transformer blocks in the text encoder.
        vocabulary: Number of tokens in the vocabulary.
        context: Maximum number of tokens in a text; the padding token is 0.
        neck: Channels of the three feature levels in the neck, finest first.
        decoder_layers: Number of transformer blocks in the decoder.
        decoder_heads: Number of attention heads in the decoder; not inferable from weights.
        decoder_hidden: Hidden width of the decoder's MLPs.
        dropout: Dropout probability of the decoder in training.
        size: Side of the square input in pixels, a multiple of 32.
        threshold: Probability above which a pixel is foreground.
        compat: ``"medvlsm"`` for weights of MedVLSM (Poudel et al., 2024,
            https://arxiv.org/abs/2308.07706). Its tokenizer pads prompts to the context length with
            the end token, and the decoder attends to this padding as to words.
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
        """Number of attention heads in the image encoder's last layer."""
        return max(1, self.stem * 32 // _HEAD)

    @property
    def text_heads(self) -> int:
        """Number of attention heads in the text encoder."""
        return max(1, self.text // _HEAD)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "CrisConfig":
        """Create a configuration from the content of a ``config.json``.

        Raises:
            ValueError: If it belongs to another family, or has unknown fields.
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
        """Convert to the content of a ``config.json``; the inverse of :meth:`from_json`."""
        return {"model_type": FAMILY, **asdict(self)}


def config_of(state: Mapping[str, Tensor], **changes: Any) -> CrisConfig:
    """Infer the configuration from a state dict.

    Fields that cannot be inferred have the published values by default.

    Args:
        state: Tensors by their original names.
        changes: Values of fields that cannot be inferred, see ``NOT_IN_WEIGHTS``.

    Raises:
        KeyError: If a tensor that determines a size is missing.
        ValueError: If a tensor has an unexpected number of axes, or the sizes are not valid.
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
    """Raise a ValueError if a size is not a positive integer, or a tuple has the wrong length."""
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
    """Count the modules in a list, whose index is the group of the pattern."""
    return len({found[1] for name in state if (found := re.match(pattern, name))})
