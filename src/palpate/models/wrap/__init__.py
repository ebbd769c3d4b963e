"""Networks of the user's own, MONAI's and segmentation_models_pytorch's, as palpate models."""
