"""Networks of the user, of MONAI and of segmentation_models_pytorch as palpate models."""
