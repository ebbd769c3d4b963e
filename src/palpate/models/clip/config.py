"""Configuration of a CLIPSeg model, read from and written to Hugging Face's ``config.json``."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

_Part = TypeVar("_Part")

# Configurations written before transformers 4.32 have this wrong ``eos_token_id``. With it, the end
# token is the token with the largest id.
LEGACY_END = 2

# Fields that are not in Hugging Face's CLIPSeg configuration.
_OURS = ("pre_layer_norm", "projection_hidden", "decoder_layer_norm_eps", "rev_activations")
_BERT = "bert"
# Decoder sizes, which must be positive integers.
_DECODER = (
    "projection_dim",
    "reduce_dim",
    "decoder_num_attention_heads",
    "decoder_intermediate_size",
)


@dataclass(frozen=True)
class VisionConfig:
    """Configuration of the image encoder, with the defaults of ``CLIPSegVisionConfig``."""

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    image_size: int = 224
    patch_size: int = 32
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        _check_encoder(self)
        if self.image_size < self.patch_size:
            raise ValueError(
                f"Expected an image_size of at least a patch ({self.patch_size} pixels), got "
                f"{self.image_size}."
            )


@dataclass(frozen=True)
class TextConfig:
    """Configuration of the text encoder, with the defaults of ``CLIPSegTextConfig``."""

    vocab_size: int = 49408
    hidden_size: int = 512
    intermediate_size: int = 2048
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    max_position_embeddings: int = 77
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    eos_token_id: int = 49407

    def __post_init__(self) -> None:
        _check_encoder(self)


@dataclass(frozen=True)
class BertConfig:
    """Configuration of a BERT text encoder, with the defaults of PubMedBERT in BiomedCLIP."""

    vocab_size: int = 30522
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    max_position_embeddings: int = 512
    context_length: int = 256
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0

    def __post_init__(self) -> None:
        _check_encoder(self)


@dataclass(frozen=True)
class ClipSegConfig:
    """Configuration of a CLIPSeg (Lüddecke & Ecker, 2022, https://arxiv.org/abs/2112.10003).

    The last four fields are not in Hugging Face's configuration; they are needed for encoders
    other than CLIP's, and for weights of CLIPSeg's authors. All other fields have Hugging Face's
    names.

    Attributes:
        pre_layer_norm: Whether the image encoder has a layer norm before its first block.
        projection_hidden: Hidden width of the MLP that projects the text; None for a single linear
            layer.
        decoder_layer_norm_eps: Epsilon of the decoder's layer norms; None for the image encoder's
            value.
        rev_activations: Whether the decoder reads the shallowest extracted layer first, an option
            of CLIPSeg's authors.
    """

    vision: VisionConfig = field(default_factory=VisionConfig)
    text: TextConfig | BertConfig = field(default_factory=TextConfig)
    projection_dim: int = 512
    extract_layers: tuple[int, ...] = (3, 6, 9)
    reduce_dim: int = 64
    conditional_layer: int = 0
    use_complex_transposed_convolution: bool = False
    decoder_num_attention_heads: int = 4
    decoder_intermediate_size: int = 2048
    pre_layer_norm: bool = True
    projection_hidden: int | None = None
    decoder_layer_norm_eps: float | None = None
    rev_activations: bool | None = None

    def __post_init__(self) -> None:
        depth = self.vision.num_hidden_layers
        for name in _DECODER:
            _check_count(name, getattr(self, name))
        _check_heads("decoder", self.reduce_dim, self.decoder_num_attention_heads)
        for tap in (*self.extract_layers, self.conditional_layer):
            _check_count("extract_layers and conditional_layer", tap, least=0)
        if not self.extract_layers or not all(0 <= tap < depth for tap in self.extract_layers):
            raise ValueError(
                f"Expected extract_layers among the {depth} layers of the image encoder, 0 the "
                f"first, got {list(self.extract_layers)}."
            )
        if not 0 <= self.conditional_layer < len(self.extract_layers):
            raise ValueError(
                f"Expected conditional_layer below {len(self.extract_layers)}, got "
                f"{self.conditional_layer}: the text would change nothing."
            )

    @classmethod
    def from_hf(cls, values: dict[str, Any]) -> "ClipSegConfig":
        """Create a configuration from the content of a ``config.json``.

        Missing keys get Hugging Face's defaults.

        Raises:
            ValueError: If it is not the configuration of a CLIPSeg, or its values are inconsistent.
        """
        if values.get("model_type") != "clipseg":
            raise ValueError(
                f"Expected the configuration of a CLIPSeg (model_type 'clipseg'), got "
                f"model_type {values.get('model_type')!r}."
            )
        known = {f.name for f in fields(cls)} - {"vision", "text", *_OURS}
        own = {k: v for k, v in values.items() if k in known and v is not None}
        if "extract_layers" in own:
            if not isinstance(own["extract_layers"], list | tuple):
                raise ValueError(
                    f"Expected extract_layers as a list, got {own['extract_layers']!r}."
                )
            own["extract_layers"] = tuple(own["extract_layers"])
        ours, text = _section(values, "palpate"), _section(values, "text_config")
        return cls(
            vision=_read(VisionConfig, _section(values, "vision_config")),
            text=_read_text(text),
            **own | {name: ours[name] for name in _OURS if name in ours},
        )

    def to_hf(self) -> dict[str, Any]:
        """Convert to the content of a ``config.json``; the inverse of :meth:`from_hf`."""
        values = asdict(self)
        vision, text = values.pop("vision"), values.pop("text")
        ours = {name: values.pop(name) for name in _OURS}
        kind = _BERT if isinstance(self.text, BertConfig) else "clipseg_text_model"
        return {
            "model_type": "clipseg",
            "architectures": ["CLIPSegForImageSegmentation"],
            **values,
            "extract_layers": list(self.extract_layers),
            "vision_config": {"model_type": "clipseg_vision_model", **vision},
            "text_config": {"model_type": kind, **text},
            "palpate": {k: v for k, v in ours.items() if v is not None},
        }


def _section(values: dict[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name) or {}
    if not isinstance(found, dict):
        raise ValueError(f"Expected {name} to be a JSON object, got {found!r}.")
    return found


def _check_encoder(part: VisionConfig | TextConfig | BertConfig) -> None:
    """Raise a ValueError if an encoder cannot have these sizes."""
    for each in fields(part):
        value = getattr(part, each.name)
        if each.type is int:
            _check_count(each.name, value, least=0 if each.name.endswith("_id") else 1)
        if each.type is float and not (isinstance(value, int | float) and value > 0):
            raise ValueError(f"Expected {each.name} above 0, got {value!r}.")
    _check_heads(type(part).__name__, part.hidden_size, part.num_attention_heads)


def _check_count(name: str, value: object, least: int = 1) -> None:
    if not isinstance(value, int) or value < least:
        raise ValueError(f"Expected {name} to be an integer of at least {least}, got {value!r}.")


def _check_heads(part: str, width: int, heads: int) -> None:
    if width % heads:
        raise ValueError(
            f"Expected the width of {part} to be a multiple of its {heads} heads, got {width}."
        )


def _read_text(values: dict[str, Any]) -> TextConfig | BertConfig:
    if values.get("model_type") == _BERT:
        return _read(BertConfig, values)
    return _read(TextConfig, values)


def _read(kind: type[_Part], values: dict[str, Any]) -> _Part:
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    return kind(**{k: v for k, v in values.items() if k in known and v is not None})
