"""LoRA (Hu et al., 2021, https://arxiv.org/abs/2106.09685) in the encoders of a CLIPSeg, by peft.

The matrices of queries and values get a trainable addition of low rank, ``W + B A``: in the image
encoder up to the deepest tap, in the text encoder in every block. B starts at zero, so that the
outputs do not change at first. As in the paper, the addition is scaled by alpha / rank; here alpha
is the rank, so the scale is one.
"""

import re

from palpate.models.clipseg.clipseg import CLIPSeg

_TARGETS = ("q_proj", "v_proj")
_PARTS = (".lora_A.", ".lora_B.")


def insert_lora(net: CLIPSeg, rank: int, *, text: bool) -> None:
    """Insert LoRA into the encoders of a frozen network, in place.

    Args:
        net: A CLIPSeg. Its query and value matrices become modules of peft, with the original
            weights as ``base_layer``.
        rank: Rank of the additions.
        text: Whether the text encoder gets LoRA as well.

    Raises:
        ImportError: If peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError(
            'LoRA needs peft, which is not installed: run pip install "palpate[lora]".'
        ) from error

    # One pattern of full names: peft would match a list by the ends of names, which may fit others.
    pattern = "|".join(map(re.escape, _targets(net, text)))
    config = LoraConfig(
        r=rank, lora_alpha=rank, lora_dropout=0.0, bias="none", target_modules=pattern
    )
    inject_adapter_in_model(config, net)


def is_lora(name: str) -> bool:
    """Whether a parameter of this name belongs to LoRA."""
    return any(part in name for part in _PARTS)


def _targets(net: CLIPSeg, text: bool) -> list[str]:
    """Full names of the matrices; blocks above the deepest tap are never computed."""
    blocks = {"clip.vision_model": max(net.config.extract_layers) + 1}
    if text:
        blocks["clip.text_model"] = net.config.text.num_hidden_layers
    return [
        f"{tower}.encoder.layers.{block}.self_attn.{target}"
        for tower, count in blocks.items()
        for block in range(count)
        for target in _TARGETS
    ]
