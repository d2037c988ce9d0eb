"""Classical opponents: they do what they are for, and are tuned by a rule."""

import pytest
import torch

from bfr_lite import baselines
from bfr_lite.astronaut import astronaut
from bfr_lite.blur import blur, gaussian_kernels
from bfr_lite.degradation import Degradation
from bfr_lite.images import ImageError
from bfr_lite.metrics import psnr


@pytest.fixture(scope="module")
def photo():
    """One real face (1, 3, 64, 64)."""
    return astronaut(64)[None]


@pytest.mark.parametrize("name", list(baselines.DEFAULTS))
def test_pictures_keep_shape_kind_and_range(name, photo):
    method = baselines.DEFAULTS[name]
    given = torch.cat([photo, torch.zeros_like(photo), torch.ones_like(photo)])
    before = given.clone()
    restored = method(given)
    assert restored.shape == given.shape and restored.dtype == torch.float32
    assert restored.min() >= 0 and restored.max() <= 1 and restored.isfinite().all()
    assert torch.equal(given, before), "the input was changed"
    torch.testing.assert_close(restored[:1], method(photo))  # alone or in a batch
    torch.testing.assert_close(restored[1:], given[1:], atol=1e-3, rtol=0)  # nothing to restore


@pytest.mark.parametrize("method", [baselines.TotalVariation(0.08), baselines.NonLocalMeans(0.08)])
def test_denoisers_remove_noise(method, photo):
    noise = torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
    noisy = (photo + 0.06 * noise).clamp(0, 1)
    assert psnr(method(noisy), photo) > psnr(noisy, photo) + 1.5


def test_deconvolution_undoes_a_blur_up_to_the_border(photo):
    sigma = torch.tensor([1.5])
    blurred = blur(photo, gaussian_kernels(sigma, sigma, torch.zeros(1)))
    sharper = baselines.RichardsonLucy(1.5, 10)(blurred)
    assert psnr(sharper, photo) > psnr(blurred, photo) + 2
    assert psnr(sharper[..., :6, :], photo[..., :6, :]) > psnr(blurred[..., :6, :], photo[..., :6, :])


def test_bad_pictures_are_refused():
    with pytest.raises(ImageError):
        baselines.TotalVariation()(torch.full((1, 3, 8, 8), 2.0))


def test_tuning_takes_the_best_candidate(photo):
    noise = torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
    noisy = (photo + 0.06 * noise).clamp(0, 1)
    candidates = [baselines.TotalVariation(weight) for weight in (1.0, 0.08, 0.0001)]
    best, scores = baselines.tune(candidates, photo, noisy)
    assert best == candidates[1]
    torch.testing.assert_close(scores, torch.stack([psnr(method(noisy), photo).mean() for method in candidates]))


def test_defaults_are_among_the_candidates():
    assert baselines.DEFAULTS.keys() == baselines.CANDIDATES.keys()
    assert all(baselines.DEFAULTS[name] in baselines.CANDIDATES[name] for name in baselines.DEFAULTS)


def test_resampled_inputs_are_the_degradation_and_its_pixels(photo):
    images = photo.expand(4, -1, -1, -1)
    degradation = Degradation.super_resolution(4, 64)
    params = degradation.sample(4, torch.Generator().manual_seed(0))
    inputs = baselines.resampled(images, degradation, params)
    assert torch.equal(inputs["input, bicubic"], degradation.apply(images, params))
    blocks = inputs["input, pixels repeated"].unflatten(3, (16, 4)).unflatten(2, (16, 4))
    assert torch.equal(blocks, blocks[:, :, :, :1, :, :1].expand_as(blocks))


def test_resampled_inputs_have_one_colour(photo):
    images = photo.expand(40, -1, -1, -1)
    degradation = Degradation.named("gfpgan", 64)
    params = degradation.sample(40, torch.Generator().manual_seed(0))
    assert (params.shift != 0).any()
    inputs = baselines.resampled(images, degradation, params)
    means = [pictures.mean(dim=(2, 3)) for pictures in inputs.values()]
    torch.testing.assert_close(*means, atol=0.01, rtol=0)
