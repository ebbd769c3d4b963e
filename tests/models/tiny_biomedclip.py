"""A small BiomedCLIP as open_clip saves it, made of Hugging Face's ViT and BERT."""

import json

import torch

from palpate.randomness import seeded

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "polyp", "skin", ",", "dark", "##s"]
WIDTH, DEPTH = 64, 5


def reference(seed=0):
    """The two towers as Hugging Face computes them; biases and gains would show if left out."""
    from transformers import BertConfig, BertModel, ViTConfig, ViTModel

    sizes = {
        "hidden_size": WIDTH,
        "num_hidden_layers": DEPTH,
        "num_attention_heads": WIDTH // 64,
        "intermediate_size": 80,
        "hidden_act": "gelu",
    }
    with seeded(seed):
        vit = ViTModel(
            ViTConfig(**sizes, image_size=32, patch_size=8, layer_norm_eps=1e-6),
            add_pooling_layer=False,
        )
        bert = BertModel(
            BertConfig(
                **sizes, vocab_size=len(WORDS), max_position_embeddings=16, layer_norm_eps=1e-12
            ),
            add_pooling_layer=False,
        )
        parts = {
            "visual.head.proj.weight": torch.randn(24, WIDTH) / 8,
            "text.proj.0.weight": torch.randn(40, WIDTH) / 8,
            "text.proj.2.weight": torch.randn(24, 40) / 6,
            "logit_scale": torch.tensor(4.4),
        }
        with torch.no_grad():
            for parameter in (*vit.parameters(), *bert.parameters()):
                if parameter.dim() == 1:
                    parameter.add_(torch.randn_like(parameter), alpha=0.2)
                else:
                    parameter.mul_(4)
            vit.embeddings.cls_token.normal_()
            vit.embeddings.position_embeddings.normal_()
    return vit.eval(), bert.eval(), parts


def published_names(vit, bert, parts):
    """The state dict under open_clip's and timm's names."""
    state = dict(parts)
    state |= {f"text.transformer.{k}": v.clone() for k, v in bert.state_dict().items()}
    theirs, trunk = vit.state_dict(), "visual.trunk"
    state[f"{trunk}.cls_token"] = theirs["embeddings.cls_token"]
    state[f"{trunk}.pos_embed"] = theirs["embeddings.position_embeddings"]
    for kind in ("weight", "bias"):
        state[f"{trunk}.norm.{kind}"] = theirs[f"layernorm.{kind}"]
        state[f"{trunk}.patch_embed.proj.{kind}"] = theirs[
            f"embeddings.patch_embeddings.projection.{kind}"
        ]
        for number, layer in enumerate(_layers(vit)):
            block = f"{trunk}.blocks.{number}"
            query, key, value, out, up, down = _matrices(layer)
            state[f"{block}.attn.qkv.{kind}"] = torch.cat(
                [getattr(part, kind) for part in (query, key, value)]
            )
            state[f"{block}.attn.proj.{kind}"] = getattr(out, kind)
            state[f"{block}.mlp.fc1.{kind}"] = getattr(up, kind)
            state[f"{block}.mlp.fc2.{kind}"] = getattr(down, kind)
            state[f"{block}.norm1.{kind}"] = getattr(layer.layernorm_before, kind)
            state[f"{block}.norm2.{kind}"] = getattr(layer.layernorm_after, kind)
    return {k: v.detach().clone() for k, v in state.items()}


def _layers(vit):
    return vit.encoder.layer if hasattr(vit, "encoder") else vit.layers


def _matrices(layer):
    """Its six linear layers in the order of the computation, whatever they are called."""
    found = [part for part in layer.modules() if isinstance(part, torch.nn.Linear)]
    named = dict(layer.named_modules())
    by_name = {n.rsplit(".", 1)[-1]: p for n, p in named.items() if isinstance(p, torch.nn.Linear)}
    if "q_proj" in by_name:
        found[:3] = [by_name[f"{letter}_proj"] for letter in "qkv"]
    elif "query" in by_name:
        found[:3] = [by_name[name] for name in ("query", "key", "value")]
    return found


def config(**text):
    return {
        "model_cfg": {
            "embed_dim": 24,
            "vision_cfg": {"timm_model_name": "vit_base_patch16_224", "timm_proj": "linear"},
            "text_cfg": {
                "hf_model_name": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
                "hf_proj_type": "mlp",
                "hf_pooler_type": "cls_last_hidden_state_pooler",
                "context_length": 8,
                **text,
            },
        },
        "preprocess_cfg": {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]},
    }


def write(folder, state, configuration=None):
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "open_clip_pytorch_model.bin")
    (folder / "open_clip_config.json").write_text(json.dumps(configuration or config()))
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return folder
