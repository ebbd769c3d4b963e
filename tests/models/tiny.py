"""A CLIPSeg and a tokenizer of a few kilobytes, in Hugging Face's layout, drawn at random."""

import json

import torch

from palpate.randomness import seeded

MERGES = [("p", "o"), ("po", "l"), ("pol", "y"), ("poly", "p</w>"), ("s", "k"), ("i", "n</w>")]
MERGES += [("sk", "in</w>")]


def write_tokenizer(folder):
    """CLIP's byte-pair encoding with seven merges; "polyp" and "skin" are one token each."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = _printable_bytes()
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, MERGES)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    lines = ["#version: 0.2", *map(" ".join, MERGES)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    return len(tokens)


def _printable_bytes():
    """One character for each byte, as GPT-2 and CLIP write them."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    shifted = [256 + n for n in range(256 - len(kept))]
    return [chr(code) for code in [*kept, *shifted]]


def config(vocabulary, **changes):
    """Hugging Face's configuration of the tiny CLIPSeg: five layers, of which 1 to 3 are read."""
    from transformers import CLIPSegConfig

    text, vision = changes.pop("text", {}), changes.pop("vision", {})
    sizes = {
        "num_hidden_layers": 5,
        "num_attention_heads": 4,
        "intermediate_size": 48,
    }
    values = {
        "vision_config": {"hidden_size": 48, "image_size": 32, "patch_size": 16, **sizes, **vision},
        "text_config": {
            "hidden_size": 32,
            "vocab_size": vocabulary,
            "bos_token_id": vocabulary - 2,
            "eos_token_id": vocabulary - 1,
            "pad_token_id": vocabulary - 1,
            **sizes,
            **text,
        },
        "projection_dim": 32,
        "extract_layers": [1, 2, 3],
        "reduce_dim": 16,
        "decoder_intermediate_size": 32,
        "use_complex_transposed_convolution": True,
    }
    return CLIPSegConfig(**(values | changes))


def hugging_face(configuration, seed=0):
    """Hugging Face's CLIPSeg, drawn at random.

    Its fresh decoder makes logits of several hundred; it is drawn anew, for logits around one. And
    fresh biases are zero and gains one; they are moved, or one forgotten would not show.
    """
    from transformers import CLIPSegForImageSegmentation

    with seeded(seed):
        model = CLIPSegForImageSegmentation(configuration).eval()
        for part in model.decoder.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
        with torch.no_grad():
            list(model.decoder.transposed_convolution.modules())[-1].weight.mul_(10)
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model


def same(ours, theirs):
    """Equal to 1e-5 where the largest value is 1."""
    torch.testing.assert_close(
        ours, theirs, rtol=0, atol=1e-5 * max(1.0, theirs.abs().max().item())
    )
