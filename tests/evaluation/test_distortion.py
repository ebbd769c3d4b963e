import inspect

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torch.testing import assert_close

from palpate.evaluation.metrics.distortion import psnr, ssim


def pictures(seed, shape=(3, 3, 24, 31)):
    """Smooth structure, as in a photograph, not white noise."""
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise, 5, stride=1, padding=2).clamp(0, 1)


def attacked(images, epsilon, seed=9):
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(seed))
    return (images + epsilon * (2 * noise - 1)).clamp(0, 1)


@given(st.floats(2**-10, 1.0, width=32))
def test_psnr_of_a_constant_error_is_known(error):
    images = torch.zeros(2, 3, 4, 5)
    assert_close(psnr(images + error, images), torch.full((2,), -20 * np.log10(error)).float())


def test_psnr_of_untouched_images_is_infinite_and_of_opposites_zero():
    images = pictures(0).round()
    assert psnr(images, images).isposinf().all()
    assert psnr(1 - images, images).tolist() == [0, 0, 0]


def test_ssim_of_untouched_images_is_one():
    assert_close(ssim(pictures(0), pictures(0)), torch.ones(3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_falls_as_the_perturbation_grows_and_is_symmetric(metric):
    images = pictures(0)
    small, large = (attacked(images, epsilon) for epsilon in (2 / 255, 8 / 255))
    assert (metric(small, images) > metric(large, images)).all()
    assert_close(metric(small, images), metric(images, small))


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_images_do_not_influence_each_other(metric):
    images = pictures(0)
    adversarial = attacked(images, 4 / 255)
    alone = [metric(a[None], x[None]) for a, x in zip(adversarial, images, strict=True)]
    assert_close(metric(adversarial, images), torch.cat(alone))


@pytest.mark.parametrize("shape", [(2, 3, 11, 11), (2, 3, 24, 31), (2, 1, 40, 12)])
def test_ssim_equals_the_formula_of_the_paper_on_scipy_filters(shape):
    images = pictures(1, shape)
    adversarial = attacked(images, 16 / 255)
    pairs = zip(adversarial.double().numpy(), images.double().numpy(), strict=True)
    expected = [
        np.mean([ssim_of_channel(x, y) for x, y in zip(a, b, strict=True)]) for a, b in pairs
    ]
    assert_close(ssim(adversarial, images).double(), torch.tensor(expected), rtol=0, atol=1e-5)


def ssim_of_channel(x, y, radius=5):
    def mean(values):
        inside = slice(radius, -radius)
        return gaussian_filter(values, sigma=1.5, radius=radius)[inside, inside]

    ux, uy = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - ux**2, mean(y * y) - uy**2, mean(x * y) - ux * uy
    c1, c2 = 0.01**2, 0.03**2
    numerator = (2 * ux * uy + c1) * (2 * vxy + c2)
    return (numerator / ((ux**2 + uy**2 + c1) * (vx + vy + c2))).mean()


@pytest.mark.reference
def test_equals_torchmetrics():
    from torchmetrics.functional.image import (
        peak_signal_noise_ratio,
        structural_similarity_index_measure,
    )

    images = pictures(2)
    adversarial = attacked(images, 8 / 255)
    expected = peak_signal_noise_ratio(
        adversarial, images, data_range=1.0, reduction="none", dim=(1, 2, 3)
    )
    assert_close(psnr(adversarial, images), expected)
    _, whole = structural_similarity_index_measure(
        adversarial, images, data_range=1.0, return_full_image=True
    )
    inside = whole[..., 5:-5, 5:-5]  # theirs also counts windows that reach over the border
    assert_close(ssim(adversarial, images), inside.flatten(1).mean(1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (1, 3, 8, 8), (1, 3, 30, 4)])
def test_ssim_is_defined_for_images_below_the_window(shape):
    images = pictures(3, (1, 3, 40, 40))[..., : shape[2], : shape[3]]
    assert_close(ssim(images, images), torch.ones(1))
    assert -1 <= ssim(1 - images, images).item() < 1


def test_ssim_below_the_window_uses_the_largest_odd_one():
    images = pictures(3, (1, 1, 8, 20))
    adversarial = attacked(images, 16 / 255)
    expected = ssim_of_channel(adversarial[0, 0].double().numpy(), images[0, 0].double().numpy(), 3)
    assert ssim(adversarial, images).item() == pytest.approx(expected, abs=1e-5)


def test_half_precision_is_measured_in_single():
    images = pictures(4).bfloat16()
    adversarial = attacked(images.float(), 8 / 255).bfloat16()
    assert_close(psnr(adversarial, images), psnr(adversarial.float(), images.float()))
    assert_close(ssim(adversarial, images), ssim(adversarial.float(), images.float()))


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_refuses_images_of_different_size(metric):
    with pytest.raises(ValueError, match=r"one shape, got .1, 3, 12, 12. and .1, 3, 12, 13."):
        inspect.unwrap(metric)(torch.rand(1, 3, 12, 12), torch.rand(1, 3, 12, 13))
