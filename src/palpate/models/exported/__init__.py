"""Networks in files that bring their own graph: TorchScript, torch.export, ONNX, MONAI bundles."""
