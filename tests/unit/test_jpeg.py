"""The real JPEG codec and our differentiable one."""

from __future__ import annotations

import io

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.data import astronaut

from bfr_lite.images import ImageError, pil_to_tensor, tensor_to_pil
from bfr_lite.jpeg import (
    CHROMA_TABLE,
    LUMA_TABLE,
    QualityError,
    dct_matrix,
    jpeg,
    jpeg_differentiable,
    quantisation_table,
    rgb_to_ycbcr,
    ycbcr_to_rgb,
)


@pytest.fixture(scope="module")
def portrait():
    return torch.from_numpy(astronaut()[:256, 96:352]).permute(2, 0, 1)[None].float() / 255


def zigzag():
    """Rows and columns in the order in which a file lists its tables (T.81, figure 5)."""
    cells = [(r, c) for r in range(8) for c in range(8)]
    return sorted(cells, key=lambda rc: (sum(rc), rc[0] if sum(rc) % 2 else rc[1]))


@pytest.mark.parametrize("quality", [1, 10, 30, 49, 50, 51, 75, 90, 100])
def test_tables_are_those_a_real_file_holds(quality):
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG", quality=quality)
    stored = Image.open(file).quantization
    for index, table in enumerate([LUMA_TABLE, CHROMA_TABLE]):
        ours = quantisation_table(table, quality)
        listed = list(stored[index])
        in_file_order = [ours[r, c].item() for r, c in zigzag()]
        # Pillow's versions differ in the order they give.
        assert listed in (in_file_order, ours.flatten().tolist())


def test_transforms_are_invertible():
    dct = dct_matrix()
    torch.testing.assert_close(dct @ dct.T, torch.eye(8), atol=1e-6, rtol=0)
    images = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ycbcr_to_rgb(rgb_to_ycbcr(images)), images, atol=1e-5, rtol=0)
    grey = torch.full((1, 3, 1, 1), 0.4)
    torch.testing.assert_close(rgb_to_ycbcr(grey).flatten(), torch.tensor([0.4, 0, 0]), atol=1e-6, rtol=0)


def test_real_codec_is_pillow_with_halved_colour(portrait):
    file = io.BytesIO()
    tensor_to_pil(portrait[0]).save(file, "JPEG", quality=40, subsampling=2)
    assert torch.equal(jpeg(portrait, 40)[0], pil_to_tensor(Image.open(file)))


@pytest.mark.parametrize("codec", [jpeg, jpeg_differentiable])
def test_each_picture_has_its_own_quality(codec, portrait):
    both = codec(portrait.repeat(2, 1, 1, 1), torch.tensor([20, 90]))
    for image, quality in zip(both, [20, 90], strict=True):
        torch.testing.assert_close(image, codec(portrait, quality)[0], atol=1e-6, rtol=0)
    errors = (both - portrait).square().mean(dim=(1, 2, 3))
    assert errors[0] > 2 * errors[1]


@pytest.mark.parametrize("quality", [30, 40, 50, 60, 75, 85, 95])
def test_differentiable_codec_follows_the_real_one(quality, portrait):
    real, ours = jpeg(portrait, quality), jpeg_differentiable(portrait, quality)
    difference = (real - ours).abs().mean()
    assert difference < 0.6 / 255
    assert difference < 0.33 * (real - portrait).abs().mean()


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (4, 4), (4, 7), (8, 8), (17, 33), (30, 47)])
def test_any_height_and_width(shape, portrait):
    crops = torch.cat([portrait[..., i : i + shape[0], i : i + shape[1]] for i in range(0, 200, 10)])
    real, ours = jpeg(crops, 60), jpeg_differentiable(crops, 60)
    assert real.shape == ours.shape == crops.shape
    assert (real - ours).abs().mean() < 0.8 / 255


@pytest.mark.parametrize("quality", [25, 50, 75])
def test_ties_are_rounded_as_libjpeg_does(quality):
    """Every flat grey: the means of blocks are multiples of 1/8, so many lie half-way between two steps."""
    greys = (torch.arange(256.0) / 255)[:, None, None, None].expand(-1, 3, 8, 8)
    torch.testing.assert_close(jpeg_differentiable(greys, quality), jpeg(greys, quality), atol=1e-6, rtol=0)


@pytest.mark.parametrize("side", [4, 5])
def test_tiny_pictures_follow_the_real_codec(side, portrait):
    """A whole face in 4 pixels has one block: a wrong rounding there would shift all of it."""
    small = F.interpolate(portrait, (side, side), mode="area")
    generator = torch.Generator().manual_seed(4)
    noisy = (small + 0.05 * torch.randn(50, 3, side, side, generator=generator)).clamp(0, 1)
    differences = (jpeg(noisy, 40) - jpeg_differentiable(noisy, 40)).abs().mean(dim=(1, 2, 3))
    assert differences.median() < 0.5 / 255
    assert (differences < 1 / 255).float().mean() > 0.9


def test_output_keeps_dtype_and_range():
    extremes = (torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(1)) > 0.5).double()
    for codec in (jpeg, jpeg_differentiable):
        out = codec(extremes, 30)
        assert out.dtype == torch.float64 and out.min() >= 0 and out.max() <= 1


def test_gradient_is_that_of_the_codec_without_rounding(portrait):
    """Without rounding, JPEG leaves brightness alone: a weighted sum of it has the weight as gradient."""
    # Away from 0 and 1, where clamping cuts gradients.
    images = (portrait[..., :32, :32] * 0.5 + 0.25).requires_grad_()
    weight = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(2)).expand_as(images)
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    (gradient,) = torch.autograd.grad((jpeg_differentiable(images, 50) * luma * weight).sum(), images)
    torch.testing.assert_close(gradient, luma * weight, atol=1e-5, rtol=0)


def test_gradient_predicts_the_mean_effect_of_a_change(portrait):
    """Finite differences, averaged over many offsets: the staircase of rounding climbs as the line does."""
    generator = torch.Generator().manual_seed(3)
    base = (portrait[..., 60:76, 100:116] * 0.2 + 0.4).double()
    weight = torch.randn(base.shape, generator=generator, dtype=torch.float64)
    offsets = 0.08 * torch.randn(256, 3, 16, 16, generator=generator, dtype=torch.float64)

    def score(images):
        return (jpeg_differentiable(images.clamp(0, 1), 95) * weight).sum(dim=(1, 2, 3)).mean()

    leaf = base.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score(leaf), leaf)
    direction = gradient / gradient.abs().mean()
    step = 0.02 * direction
    measured = (score(base + offsets + step) - score(base + offsets - step)) / 0.04
    predicted = (gradient * direction).sum()
    assert measured.item() == pytest.approx(predicted.item(), rel=0.1)


def test_gradient_finds_the_picture_behind_a_jpeg(portrait):
    """What a re-degradation loss needs: descent on it lowers the distance to the compressed target."""
    target = jpeg(portrait[..., 64:128, 64:128], 30)
    images = torch.full_like(target, 0.5).requires_grad_()
    optimiser = torch.optim.Adam([images], lr=0.02)
    for _ in range(40):
        optimiser.zero_grad()
        loss = (jpeg_differentiable(images.clamp(0, 1), 30) - target).square().mean()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1 * (target - 0.5).square().mean().item()


def test_autocast_does_not_coarsen_the_result(portrait):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = jpeg_differentiable(portrait, 75)
    assert torch.equal(under_autocast, jpeg_differentiable(portrait, 75))


@pytest.mark.parametrize("codec", [jpeg, jpeg_differentiable])
@pytest.mark.parametrize(
    "quality", [0, float("nan"), 101, torch.tensor([50, 50, 50]), torch.tensor([50.5, 50.0]), 60.5]
)
def test_bad_quality(codec, quality):
    with pytest.raises(QualityError, match="1 to 100"):
        codec(torch.zeros(2, 3, 8, 8), quality)


@pytest.mark.parametrize("codec", [jpeg, jpeg_differentiable])
@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(3, 8, 8),
        torch.zeros(1, 1, 8, 8),
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
        torch.full((1, 3, 8, 8), float("nan")),
        torch.full((1, 3, 8, 8), 1.5),
    ],
)
def test_bad_images(codec, images):
    with pytest.raises(ImageError):
        codec(images, 50)
