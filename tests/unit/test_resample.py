"""Banded products against the same computations without bands."""

import pytest
import torch
import torch.nn.functional as F

from bfr_lite.blur import BlurError, blur, gaussian_kernels
from bfr_lite.resample import bicubic_bands, blurring_bands, resample


def picture(height: int, width: int) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height))


def bicubic(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False)


def round_blur(images: torch.Tensor, sigma: float) -> torch.Tensor:
    sigmas = torch.full((1,), sigma)
    return blur(images, gaussian_kernels(sigmas, sigmas, torch.zeros(1)))


@pytest.mark.parametrize("before", [(32, 32), (128, 100), (300, 41)])
@pytest.mark.parametrize("after", [(4, 5), (29, 64), (128, 100), (500, 333)])
def test_bicubic_is_that_of_torch(before, after):
    images = picture(*before)
    bands = [bicubic_bands(*sides) for sides in zip(before, after, strict=True)]
    wanted = bicubic(images.double(), after).float()  # in 32 bits torch's own is off by 4e-5
    torch.testing.assert_close(resample(images, *bands), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("sigma", [0.01, 0.3, 1.7, 6.0])
@pytest.mark.parametrize(("before", "after"), [(32, 8), (32, 40), (128, 29), (200, 200), (300, 16)])
def test_blurring_bands_blur_and_then_shrink(before, after, sigma):
    images, bands = picture(before, before), blurring_bands(before, after, sigma)
    wanted = bicubic(round_blur(images, sigma), (after, after))
    torch.testing.assert_close(resample(images, bands, bands), wanted, atol=1e-5, rtol=0)


def test_rows_and_columns_are_not_mixed_up():
    """Blurred from row to row, a picture is not blurred along its rows."""
    stripes = torch.rand(2, 3, 1, 64, generator=torch.Generator().manual_seed(0)).expand(-1, -1, 48, -1)
    bands = blurring_bands(48, 20, 2.0), bicubic_bands(64, 64)
    torch.testing.assert_close(resample(stripes, *bands), stripes[:, :, :20], atol=1e-5, rtol=0)
    assert (resample(stripes.mT, *bands[::-1]).mT - stripes[:, :, :20]).abs().max() < 1e-5
    other = resample(stripes, bicubic_bands(48, 48), blurring_bands(64, 64, 2.0))
    assert (other - stripes).abs().mean() > 0.1


def test_a_blur_wider_than_the_picture_is_refused():
    blurring_bands(16, 8, 3.7)
    with pytest.raises(BlurError, match="radius 16 is too wide for 16 pixels"):
        blurring_bands(16, 8, 3.8)


def test_gradient_is_that_of_finite_differences():
    images = torch.rand(1, 3, 24, 24, dtype=torch.float64, requires_grad=True)
    bands = blurring_bands(24, 10, 1.2), bicubic_bands(24, 30)
    assert torch.autograd.gradcheck(lambda x: resample(x, *bands), images, fast_mode=True)


def test_bands_made_without_gradients_serve_training():
    bicubic_bands.cache_clear()
    with torch.inference_mode():
        bicubic_bands(24, 12)
    images = torch.rand(1, 3, 24, 24, requires_grad=True)
    resample(images, bicubic_bands(24, 12), bicubic_bands(24, 12)).sum().backward()
    assert images.grad.sum().item() == pytest.approx(3 * 12 * 12, rel=1e-4)
