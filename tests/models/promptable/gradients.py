"""The gradient of a promptable network at the pixels, beside the change that it foretells."""

import torch


def along(model, images, answer, length):
    """Gradient of every pixel, what it says of a random step, and what the step really does."""

    def loss(points):
        pixels = model.canvas.put(points, model.mean, model.std)
        return answer(pixels).double().square().sum()

    points = images.double().requires_grad_()
    random = torch.Generator().manual_seed(1)
    step = length * torch.randn(images.shape, generator=random).double()
    model.double()
    try:
        (gradient,) = torch.autograd.grad(loss(points), points)
        with torch.no_grad():
            change = (loss(points + step) - loss(points - step)) / 2
    finally:
        model.float()
    return gradient, (gradient * step).sum(), change
