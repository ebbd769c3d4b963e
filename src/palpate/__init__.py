"""Press on medical image segmentation models and see how they give way."""
