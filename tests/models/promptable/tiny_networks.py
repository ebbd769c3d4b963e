"""Networks of Hugging Face of a few thousand parameters, drawn at random."""

import torch


def moved(make):
    """A network that is drawn anew so that whatever goes in still shows where it comes out.

    Fresh ones begin as good as zero, which would hide a forgotten box, bias or position.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
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
