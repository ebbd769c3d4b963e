"""Networks of Hugging Face of a few thousand parameters, drawn at random."""

import torch

from palpate.randomness import seeded


def moved(make):
    """A network that is drawn anew so that whatever goes in still shows where it comes out.

    Fresh ones begin as good as zero, which would hide a forgotten box, bias or position.
    """
    with seeded(0):
        net = make().eval()
        with torch.no_grad():
            for parameter in net.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(std=parameter[0].numel() ** -0.5)
                if parameter.dim() == 1:
                    parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return net


def sam(kind=""):
    """SAM, or ``kind="HQ"``: 64 pixels, four layers of which two look at windows."""
    import transformers

    part = {
        name: getattr(transformers, f"Sam{kind}{name}Config")
        for name in ("Vision", "PromptEncoder", "MaskDecoder", "")
    }
    vision = {
        "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 64,
        "patch_size": 8, "window_size": 4, "global_attn_indexes": [1, 3], "output_channels": 32,
        "num_pos_feats": 16, "mlp_dim": 32,
    }  # fmt: skip
    decoder = {"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 8}
    if kind:
        decoder["vit_dim"] = 32
    config = part[""](
        vision_config=part["Vision"](**vision).to_dict(),
        prompt_encoder_config=part["PromptEncoder"](
            hidden_size=32, image_size=64, patch_size=8, mask_input_channels=4
        ).to_dict(),
        mask_decoder_config=part["MaskDecoder"](**decoder).to_dict(),
    )
    return moved(lambda: getattr(transformers, f"Sam{kind}Model")(config))


def sam2(kind=""):
    """SAM 2, or ``kind="Video"``: 64 pixels, four stages."""
    import transformers

    backbone = {
        "hidden_size": 8, "num_attention_heads": 1, "image_size": [64, 64],
        "blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2], "window_size_per_stage": [4, 4, 4, 4],
        "global_attention_blocks": [3], "window_positional_embedding_background_size": [4, 4],
    }  # fmt: skip
    vision = transformers.Sam2VisionConfig(
        backbone_config=transformers.Sam2HieraDetConfig(**backbone).to_dict(),
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=32,
    )
    prompt = {"hidden_size": 32, "image_size": 64, "patch_size": 16, "mask_input_channels": 4}
    decoder = {"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 8}
    config = getattr(transformers, f"Sam2{kind}Config")(
        vision_config=vision.to_dict(), prompt_encoder_config=prompt, mask_decoder_config=decoder,
        **({"memory_attention_hidden_size": 32, "image_size": 64} if kind else {}),
    )  # fmt: skip
    return moved(lambda: getattr(transformers, f"Sam2{kind}Model")(config))


def sam3(vocabulary):
    """SAM 3 of 28 pixels with a text tower that reads the tiny tokenizer."""
    import transformers

    backbone = {
        "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "image_size": 28,
        "num_attention_heads": 2, "patch_size": 7, "window_size": 2, "global_attn_indexes": [1],
        "pretrain_image_size": 14, "model_type": "sam3_vit_model",
    }  # fmt: skip
    small = {"hidden_size": 32, "num_attention_heads": 2}
    deep = small | {"intermediate_size": 32, "num_layers": 1}
    config = transformers.Sam3Config(
        vision_config={
            "backbone_config": backbone, "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        },
        text_config={
            "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2, "vocab_size": vocabulary, "max_position_embeddings": 12,
            "bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1,
            "pad_token_id": vocabulary - 1, "projection_dim": 16,
        },
        geometry_encoder_config=deep,
        detr_encoder_config=deep,
        detr_decoder_config=deep | {"num_queries": 4},
        mask_decoder_config=small,
    )  # fmt: skip
    return moved(lambda: transformers.Sam3Model(config))


WORDS = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
WORDS |= {"polyp": 2000, "skin": 2001, "small": 2002}


def write_words(folder):
    """BERT's word pieces, of which there are three words; the rest is where BERT has it."""
    names = {number: word for word, number in WORDS.items()}
    lines = [names.get(number, f"[unused{number}]") for number in range(2003)]
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n")


def grounding_dino():
    """Grounding DINO with a Swin of four blocks, and a processor that makes 64 pixels of a side."""
    import transformers

    swin = transformers.SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=2,
        out_indices=[2, 3, 4],
    )  # fmt: skip
    text = transformers.BertConfig(
        vocab_size=2003, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16,
    )  # fmt: skip
    config = transformers.GroundingDinoConfig(
        backbone_config=swin, text_config=text, num_queries=6, d_model=32, encoder_layers=1,
        decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, max_text_len=16,
    )  # fmt: skip
    return moved(lambda: transformers.GroundingDinoForObjectDetection(config))
