"""LoRA (Hu et al., 2021, https://arxiv.org/abs/2106.09685) in CLIPSeg's encoders, using peft.

A trainable low-rank update is added to the query and value projections, ``W + B A``: in all text
blocks, and in the image blocks up to the deepest tap. B is initialised to zero, so new LoRA layers
do not change the output. The update is scaled by alpha / rank as in the paper; alpha equals the
rank here, so the scale is one.
"""

import re

from palpate.models.clipseg.clipseg import CLIPSeg

_TARGETS = ("q_proj", "v_proj")
_PARTS = (".lora_A.", ".lora_B.")


def insert_lora(net: CLIPSeg, rank: int, *, text: bool) -> None:
    """Insert LoRA into the encoders of a frozen network, in place.

    Args:
        net: A CLIPSeg. Its query and value projections are replaced by peft modules, which keep
            the original weights as ``base_layer``.
        rank: Rank of the updates.
        text: Whether to insert LoRA into the text encoder as well.

    Raises:
        ImportError: If peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError(
            "LoRA needs peft, which is not installed: run pip install peft."
        ) from error

    # A regular expression of full names, because peft matches the names in a list as suffixes, and
    # other modules may have the same suffix.
    pattern = "|".join(map(re.escape, _targets(net, text)))
    config = LoraConfig(
        r=rank, lora_alpha=rank, lora_dropout=0.0, bias="none", target_modules=pattern
    )
    inject_adapter_in_model(config, net)


def is_lora(name: str) -> bool:
    """Whether a parameter of this name belongs to LoRA."""
    return any(part in name for part in _PARTS)


def _targets(net: CLIPSeg, text: bool) -> list[str]:
    """Full names of the projections; image blocks above the deepest tap are never computed."""
    blocks = {"clip.vision_model": max(net.config.extract_layers) + 1}
    if text:
        blocks["clip.text_model"] = net.config.text.num_hidden_layers
    return [
        f"{tower}.encoder.layers.{block}.self_attn.{target}"
        for tower, count in blocks.items()
        for block in range(count)
        for target in _TARGETS
    ]
