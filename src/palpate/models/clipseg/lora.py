"""LoRA (Hu et al., 2021, https://arxiv.org/abs/2106.09685) in both towers of a CLIPSeg, by peft.

The matrices that make queries and values get a trainable addition of low rank, ``W + B A``, in
every block that takes part: in the image tower up to the deepest tap, in the text tower in all. B
starts at zero, so that a fresh one changes nothing. As in the paper, the addition is scaled by
alpha / rank, with alpha = rank: by one.
"""

import re

from palpate.models.clipseg.clipseg import CLIPSeg

_TARGETS = ("q_proj", "v_proj")
_PARTS = (".lora_A.", ".lora_B.")


def insert_lora(net: CLIPSeg, rank: int, *, text: bool) -> None:
    """Put LoRA into the towers of a frozen network, in place.

    Args:
        net: Its query and value matrices become modules of peft; ``base_layer`` in their
            parameters' names is what they were.
        rank: Of the additions.
        text: Whether the text tower gets it, too.

    Raises:
        ImportError: If peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError(
            'LoRA needs peft, which is not installed: run pip install "palpate[lora]".'
        ) from error

    # As one pattern: a list is taken as ends of names, which may fit others.
    pattern = "|".join(map(re.escape, _targets(net, text)))
    config = LoraConfig(
        r=rank, lora_alpha=rank, lora_dropout=0.0, bias="none", target_modules=pattern
    )
    inject_adapter_in_model(config, net)


def is_lora(name: str) -> bool:
    """Whether a parameter of this name is part of a LoRA."""
    return any(part in name for part in _PARTS)


def _targets(net: CLIPSeg, text: bool) -> list[str]:
    """Full names of the matrices; blocks beyond the deepest tap are never computed."""
    blocks = {"clip.vision_model": max(net.config.extract_layers) + 1}
    if text:
        blocks["clip.text_model"] = net.config.text.num_hidden_layers
    return [
        f"{tower}.encoder.layers.{block}.self_attn.{target}"
        for tower, count in blocks.items()
        for block in range(count)
        for target in _TARGETS
    ]
