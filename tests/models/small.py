"""A configuration of a few thousand parameters of every family that is made anew."""

SMALL = {
    "pranet": {"depths": [1, 1, 1, 1], "planes": 8, "channels": 4, "labels": 2, "input_size": 32},
    "monai/unet": {"channels": [4, 8, 8], "strides": [2, 2], "num_res_units": 1},
    "monai/attention-unet": {"channels": [4, 8], "strides": [2]},
    "monai/segresnet": {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]},
    "monai/swin-unetr": {"feature_size": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1]},
    "monai/flexible-unet": {"decoder_channels": [8, 8, 8, 8, 8]},
}
