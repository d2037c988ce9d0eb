"""The degradation model: what is drawn, what is done with it, and that nothing else is."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from skimage.data import astronaut

from bfr_lite.blur import BlurError, blur, fast_length, gaussian_kernels
from bfr_lite.degradation import Degradation, _degrade_together, degrade, low_size
from bfr_lite.degradation_params import (
    NAMED_RANGES,
    DegradationError,
    DegradationParams,
    DegradationRanges,
)
from bfr_lite.images import ImageError, resize
from bfr_lite.jpeg import jpeg

FIELDS = ["sigma_x", "sigma_y", "angle", "down", "noise", "quality", "shift", "grey", "seed"]
STAGES = ["input", "blur", "down", "noise", "jpeg", "up", "output"]

PUBLISHED = ("gfpgan", "codeformer", "diffbir")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def same(a, b):
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in FIELDS)


def psnr(a, b):
    return -10 * (a - b).square().mean(dim=(1, 2, 3)).log10()


@pytest.fixture(scope="module")
def portrait():
    """A face at 64 px."""
    picture = torch.from_numpy(astronaut()[:256, 96:352]).permute(2, 0, 1)[None].float() / 255
    return resize(picture, 64)


# Kernels and blur


@pytest.mark.parametrize("sigmas", [(2.0, 2.0), (4.0, 1.0), (1.0, 3.0)])
@pytest.mark.parametrize("angle", [0.0, 0.6, math.pi / 2, 2.5])
def test_kernel_has_the_covariance_asked_for(sigmas, angle):
    kernel = gaussian_kernels(*(torch.tensor([v]) for v in (*sigmas, angle)))[0].double()
    assert kernel.sum().item() == pytest.approx(1, abs=1e-6)
    assert kernel.shape[0] % 2 == 1 and torch.equal(kernel, kernel.flip(0, 1))
    steps = torch.arange(kernel.shape[0]) - kernel.shape[0] // 2
    y, x = (axis.double() for axis in torch.meshgrid(steps, steps, indexing="ij"))
    moments = [(kernel * a * b).sum() for a, b in ((x, x), (x, y), (y, x), (y, y))]
    measured = torch.stack(moments).reshape(2, 2)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    wanted = (turn @ torch.diag(torch.tensor(sigmas).square()) @ turn.T).double()
    torch.testing.assert_close(measured, wanted, rtol=0, atol=0.01 * max(sigmas) ** 2)


def test_kernel_does_not_depend_on_its_batch():
    narrow = gaussian_kernels(torch.tensor([1.0]), torch.tensor([0.5]), torch.tensor([0.3]))
    both = gaussian_kernels(torch.tensor([1.0, 5.0]), torch.tensor([0.5, 5.0]), torch.tensor([0.3, 0.0]))
    margin = (both.shape[-1] - narrow.shape[-1]) // 2
    torch.testing.assert_close(both[:1, margin:-margin, margin:-margin], narrow)
    assert both[0].sum().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("sigma", [0.0, 0.02, 0.1])
def test_tiny_sigma_is_no_blur(sigma, portrait):
    sigmas = torch.tensor([sigma])
    out = blur(portrait, gaussian_kernels(sigmas, sigmas, torch.zeros(1)))
    torch.testing.assert_close(out, portrait, atol=1e-5, rtol=0)


def test_blur_is_the_convolution_with_the_kernel(portrait):
    images = torch.cat([portrait, portrait.flip(-1)])
    kernels = gaussian_kernels(torch.tensor([2.0, 0.8]), torch.tensor([0.7, 1.5]), torch.tensor([0.5, 1.0]))
    radius = kernels.shape[-1] // 2
    padded = torch.nn.functional.pad(images, (radius,) * 4, mode="reflect")
    weights = kernels.repeat_interleave(3, dim=0)[:, None]
    wanted = torch.nn.functional.conv2d(padded.reshape(1, 6, *padded.shape[-2:]), weights, groups=6)
    torch.testing.assert_close(blur(images, kernels), wanted.reshape(images.shape), atol=1e-5, rtol=0)


def test_fourier_lengths_have_small_factors():
    assert [fast_length(n) for n in (1, 7, 64, 146, 148, 592, 601, 2048)] == [8, 8, 64, 160, 160, 600, 640, 2048]


def test_blur_too_wide_for_the_picture(portrait):
    sigma = torch.tensor([40.0])
    with pytest.raises(BlurError, match="too wide"):
        blur(portrait, gaussian_kernels(sigma, sigma, torch.zeros(1)))


# Parameters


@pytest.mark.parametrize("apply", [Degradation.apply, Degradation.apply_differentiable])
def test_the_degradation_named_none_changes_nothing(apply):
    images = torch.rand(3, 3, 32, 32, generator=seeded())
    none = Degradation.named("none", 32)
    torch.testing.assert_close(apply(none, images, none.sample(3, seeded())), images, atol=1e-6, rtol=0)


def test_the_degradation_named_shrunk_only_shrinks():
    params = Degradation.named("shrunk", 32).sample(500, seeded())
    assert 1 <= params.down.min() < 1.2 and 15.8 < params.down.max() <= 16
    idle = (params.sigma_x, params.sigma_y, params.noise, params.quality, params.shift, params.grey)
    assert not any(values.any() for values in idle)


@pytest.mark.parametrize("shape", [(96, 80), (80, 96)])
@pytest.mark.parametrize("isotropic", [True, False])
def test_pictures_need_not_be_square(shape, isotropic, portrait):
    """Blur in pixels, as `bfr-lite degrade` gives it, against the form for whole batches."""
    images, names = F.interpolate(portrait, shape, mode="bilinear"), ("sigma_x", "sigma_y")
    params = Degradation.named("gfpgan", 80).sample(1, seeded(3))
    params = replace(params, quality=0 * params.quality, **dict.fromkeys(names, torch.tensor([1.5])))
    if not isotropic:
        params = replace(params, sigma_y=torch.tensor([0.7]))
    out = Degradation(DegradationRanges(), size=None).apply(images, params)
    torch.testing.assert_close(out, _degrade_together(images, params), atol=2e-5, rtol=0)


@pytest.mark.parametrize("isotropic", [True, False])
def test_mixed_precision_leaves_pictures_alone(isotropic, portrait):
    """A step in bfloat16 must damage a restored face as the input was damaged."""
    degradation = Degradation.named("codeformer", 64)
    portrait = F.interpolate(portrait, (64, 64), mode="bilinear")
    params = degradation.sample(1, seeded())
    if isotropic:
        params = replace(params, sigma_y=params.sigma_x)
    ways = (degradation.apply_differentiable, degradation.apply)
    wanted = [way(portrait, params) for way in ways]
    with torch.autocast("cpu", torch.bfloat16):
        for way, picture in zip(ways, wanted, strict=True):
            assert torch.equal(way(portrait, params), picture)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_pictures_of_other_precision_are_damaged_as_those_of_32_bits(dtype, portrait):
    degradation, given = Degradation.named("gfpgan", portrait.shape[-1]), portrait.to(dtype)
    params = degradation.sample(1, seeded())
    for way in (degradation.apply, degradation.apply_differentiable):
        out = way(given, params)
        assert out.dtype == dtype
        torch.testing.assert_close(out, way(given.float(), params).to(dtype), atol=1e-6, rtol=0)
    assert {stage.dtype for stage in degradation.apply(given, params, return_stages=True).values()} == {dtype}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("size", [32, 128, 512])
def test_samples_fill_the_published_ranges_and_no_more(name, size):
    ranges = NAMED_RANGES[name]
    params = Degradation.named(name, size).sample(4000, seeded())
    pixels = size / 512
    drawn = {
        "blur": torch.cat([params.sigma_x, params.sigma_y]) / pixels,
        "down": params.down,
        "noise": params.noise,
        "jpeg": params.quality.float(),
    }
    for field, values in drawn.items():
        low, high = getattr(ranges, field)
        slack = 0.02 * (high - low)
        assert low - 1e-4 <= values.min() < low + slack, field
        assert high - slack < values.max() <= high + 1e-4, field
        assert values.mean().item() == pytest.approx((low + high) / 2, rel=0.05), field
    assert (params.sigma_x == params.sigma_y).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert 0 <= params.angle.min() < 0.02 * math.pi and 0.98 * math.pi < params.angle.max() <= math.pi
    assert params.shift.abs().max() <= ranges.shift
    if ranges.shift:
        changed = params.shift[(params.shift != 0).any(dim=1)]
        assert (changed.amin(0) < -0.95 * ranges.shift).all() and (changed.amax(0) > 0.95 * ranges.shift).all()
        assert torch.corrcoef(changed.T).fill_diagonal_(0).abs().max() < 0.1, "each channel by its own"
    moved = (params.shift != 0).any(dim=1).float().mean().item()
    assert moved == pytest.approx(ranges.shift_share, abs=0.05)
    assert params.grey.float().mean().item() == pytest.approx(ranges.grey_share, abs=0.005)
    assert len(params.seed.unique()) == 4000


def test_published_numbers():
    blur, down, noise, jpeg = (0.1, 10), (0.8, 8), (0, 20), (60, 100)
    colour = {"shift": 20, "shift_share": 0.3, "grey_share": 0.01}
    assert NAMED_RANGES["gfpgan"] == DegradationRanges(blur, down, noise, jpeg, isotropic=0.5, **colour)
    assert NAMED_RANGES["codeformer"] == DegradationRanges((1, 15), (4, 30), (0, 20), (30, 80), isotropic=0.5)
    assert NAMED_RANGES["diffbir"] == DegradationRanges((0.1, 12), (1, 12), (0, 15), (30, 100), isotropic=0.5)


def test_half_the_severity_shrinks_by_the_root():
    half = Degradation.of_severity(0.5, 64).ranges
    worst = Degradation.of_severity(1, 64).ranges
    assert half.down == pytest.approx([factor**0.5 for factor in worst.down])
    assert half.blur == pytest.approx([sigma / 2 for sigma in worst.blur])


def test_sampling_depends_on_its_generator_alone():
    degradation = Degradation.named("gfpgan", 64)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = degradation.sample(5, seeded(3))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(8)
    assert same(first, degradation.sample(5, seeded(3)))
    assert not same(first, degradation.sample(5, seeded(4)))
    assert same(first[:2], degradation.sample(2, seeded(3)))


def test_luck_does_not_depend_on_the_ranges():
    ours, theirs = (Degradation.named(name, 64).sample(6, seeded()) for name in ("gfpgan", "codeformer"))
    assert torch.equal(ours.seed, theirs.seed) and torch.equal(ours.angle, theirs.angle)


def test_params_index_slice_iterate_and_print():
    params = Degradation.named("gfpgan", 64).sample(4, seeded())
    assert len(params) == 4 and len(params[1]) == 1 and len(params[1:]) == 3 and len(list(params)) == 4
    assert same(params[-1], params[3:4]) and params[2].shift.shape == (1, 3)
    with pytest.raises(IndexError):
        params[4]
    lines = repr(params).splitlines()
    assert len(lines) == 4 and f"seed {params.seed[0].item()}" in lines[0]
    assert "JPEG none" in repr(Degradation.super_resolution(4).sample(1, seeded()))


# Applying


@pytest.mark.parametrize("name", PUBLISHED)
def test_same_parameters_same_bits_and_no_global_rng(name, portrait):
    images = torch.cat([portrait, portrait.flip(-1), 1 - portrait])
    degradation = Degradation.named(name, 64)
    params = degradation.sample(3, seeded(1))
    original, before = images.clone(), torch.get_rng_state()
    first = degradation.apply(images, params)
    torch.manual_seed(99)
    assert torch.equal(first, degradation.apply(images, params))
    torch.set_rng_state(before)
    degradation.apply(images, params)
    degradation.apply_differentiable(images, params)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(images, original)
    assert first.shape == images.shape and first.dtype == images.dtype
    assert first.min() >= 0 and first.max() <= 1
    assert not torch.equal(first, degradation.apply(images, degradation.sample(3, seeded(2))))


def test_a_picture_alone_is_degraded_as_in_a_batch(portrait):
    images = portrait.repeat(3, 1, 1, 1)
    degradation = Degradation(DegradationRanges((1, 8), (1, 4), (0, 20)), 64)  # JPEG could flip a rounding
    params = degradation.sample(3, seeded())
    together = degradation.apply(images, params)
    for i in range(3):
        alone = degradation.apply(images[i : i + 1], params[i])
        torch.testing.assert_close(alone[0], together[i], atol=1e-5, rtol=0)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_no_degradation_changes_nothing(portrait):
    degradation = Degradation(DegradationRanges(), 64)
    params = degradation.sample(1, seeded())
    assert torch.equal(degradation.apply(portrait, params), portrait)
    assert torch.equal(degradation.apply_differentiable(portrait, params), portrait)


def test_stages_in_order_and_each_does_its_part(portrait):
    ranges = DegradationRanges((8, 8), (4, 4), (10, 10), (50, 50), shift=20, shift_share=1)
    degradation = Degradation(ranges, 64)
    params = degradation.sample(1, seeded())
    stages = degradation.apply(portrait, params, return_stages=True)
    assert list(stages) == STAGES
    assert all(stage.shape == portrait.shape for stage in stages.values())
    assert torch.equal(stages["input"], portrait)
    assert torch.equal(stages["output"], degradation.apply(portrait, params))
    kernels = gaussian_kernels(params.sigma_x, params.sigma_y, params.angle)
    torch.testing.assert_close(stages["blur"], blur(portrait, kernels))
    small, noisy, coded = (stages[name][..., ::4, ::4] for name in ("down", "noise", "jpeg"))
    torch.testing.assert_close(stages["down"], small.repeat_interleave(4, 2).repeat_interleave(4, 3))
    torch.testing.assert_close(small, resize(stages["blur"], 16))
    assert (noisy - small).std().item() * 255 == pytest.approx(10, rel=0.15)
    assert torch.equal(coded, jpeg(noisy, 50))
    torch.testing.assert_close(stages["up"], resize(coded, 64))
    shifted = (stages["up"] + params.shift[:, :, None, None] / 255).clamp(0, 1)
    torch.testing.assert_close(stages["output"], shifted)
    assert params.shift.abs().max() > 1


def test_grey_pictures_have_equal_colours(portrait):
    degradation = Degradation(DegradationRanges(grey_share=1), 64)
    out = degradation.apply(portrait, degradation.sample(1, seeded()))
    assert torch.equal(out[:, 0], out[:, 1]) and torch.equal(out[:, 1], out[:, 2])
    torch.testing.assert_close(out[:, 0], (portrait * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1))


def test_noise_does_not_depend_on_other_parameters(portrait):
    """The seed alone makes the pattern, so that a slider changes its strength and not its shape."""
    grey = torch.full_like(portrait, 0.5)
    weak, strong = (
        Degradation(DegradationRanges(noise=(s, s)), 64).apply(
            grey, Degradation(DegradationRanges(noise=(s, s)), 64).sample(1, seeded())
        )
        for s in (5, 10)
    )
    torch.testing.assert_close(2 * (weak - 0.5), strong - 0.5, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("side", "down", "pixels"), [(128, 30, 4), (32, 30, 4), (128, 0.8, 160), (128, 3, 43)])
def test_low_size(side, down, pixels):
    assert low_size(side, down) == pixels


# Severity


def test_severity_runs_from_nearly_clean_to_codeformer(portrait):
    assert Degradation.of_severity(1, 64).ranges == NAMED_RANGES["codeformer"]
    clean = Degradation.of_severity(0, 64).ranges
    assert (clean.blur, clean.down, clean.noise, clean.jpeg) == ((0, 0), (1, 1), (0, 0), (95, 95))
    assert psnr(degrade(portrait, 0), portrait).item() > 30


def test_pictures_get_worse_with_severity(portrait):
    images = portrait.repeat(24, 1, 1, 1)
    means = [psnr(degrade(images, step / 5, seeded(5)), images).mean().item() for step in range(6)]
    assert all(worse < better - 0.5 for better, worse in pairwise(means)), means


def test_no_parameter_gets_milder_with_severity():
    levels = [Degradation.of_severity(step / 20, 128).sample(200, seeded(6)) for step in range(21)]
    for mild, severe in pairwise(levels):
        for name in ("sigma_x", "sigma_y", "down", "noise"):
            assert (getattr(severe, name) >= getattr(mild, name)).all(), name
        assert (severe.quality <= mild.quality).all()


def test_degrade_is_repeatable_and_seeded(portrait):
    assert torch.equal(degrade(portrait), degrade(portrait, 0.5))
    assert torch.equal(degrade(portrait, 0.7, seeded(1)), degrade(portrait, 0.7, seeded(1)))
    assert not torch.equal(degrade(portrait, 0.7, seeded(1)), degrade(portrait, 0.7, seeded(2)))


# Super-resolution


@pytest.mark.parametrize("scale", [2, 4, 8, 16])
def test_super_resolution_shrinks_and_enlarges_only(scale, portrait):
    degradation = Degradation.super_resolution(scale)
    params = degradation.sample(1, seeded())
    small = resize(portrait, 64 // scale)
    torch.testing.assert_close(degradation.apply(portrait, params), resize(small, 64))
    stages = degradation.apply(portrait, params, return_stages=True)
    assert torch.equal(stages["down"], stages["jpeg"])
    assert torch.equal(Degradation.super_resolution(scale, 64).apply(portrait, params), stages["output"])


def test_super_resolution_takes_any_size():
    degradation = Degradation.super_resolution(4)
    images = torch.rand(2, 3, 40, 56, generator=seeded())
    assert degradation.apply(images, degradation.sample(2, seeded())).shape == images.shape


# The differentiable form


@pytest.mark.parametrize("name", NAMED_RANGES)
def test_differentiable_form_is_close_to_the_real_one(name, portrait):
    images = portrait.repeat(6, 1, 1, 1)
    degradation = Degradation.named(name, 64)
    params = degradation.sample(6, seeded(2))
    real, ours = degradation.apply(images, params), degradation.apply_differentiable(images, params)
    assert (real - ours).abs().mean() < 1.5 / 255
    assert not real.requires_grad


@pytest.mark.parametrize(
    ("degradation", "shape"),
    [
        (Degradation.named("gfpgan", 64), (64, 64)),
        (Degradation.named("codeformer", 64), (64, 64)),
        (Degradation.named("none", 64), (64, 64)),
        (Degradation(DegradationRanges(down=(2, 16), noise=(0, 20), jpeg=(30, 90)), None), (61, 43)),
        (Degradation(DegradationRanges(down=(2, 2), jpeg=(90, 100)), None), (9, 8)),
    ],
)
def test_pictures_degraded_together_are_those_degraded_alone(degradation, shape, portrait):
    """The form for a GPU, on the CPU: the same pictures, and the same gradients."""
    colours = torch.rand(12, 3, *shape, generator=seeded(4))
    images = (F.interpolate(portrait, shape, mode="bilinear") + colours) / 2
    params = degradation.sample(12, seeded(3))
    params = replace(params, quality=torch.where(torch.arange(12) % 4 > 0, params.quality, 0))  # some go without JPEG
    found = []
    for together in (False, True):
        lq = images.clone().requires_grad_()
        out = _degrade_together(lq, params) if together else degradation.apply_differentiable(lq, params)
        (gradient,) = torch.autograd.grad((out - 0.3).square().sum(), lq)
        found.append((out, gradient))
    for alone, together in zip(*found, strict=True):
        # what lies between two whole numbers may be rounded to either
        assert ((alone - together).abs() < 1e-3).float().mean() > 0.999


def test_gradients_reach_the_picture_and_lower_the_redegradation_loss(portrait):
    degradation = Degradation.of_severity(0.3, 64)
    params = degradation.sample(1, seeded(3))
    observed = degradation.apply(portrait, params)
    images = torch.full_like(portrait, 0.5).requires_grad_()
    optimiser = torch.optim.Adam([images], lr=0.02)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        loss = (degradation.apply_differentiable(images, params) - observed).square().mean()
        loss.backward()
        losses.append(loss.item())
        assert torch.isfinite(images.grad).all() and images.grad.abs().sum() > 0
        optimiser.step()
    assert losses[-1] < 0.1 * losses[0]


def test_differentiable_form_takes_a_generators_overshoot(portrait):
    degradation = Degradation.named("gfpgan", 64)
    params = degradation.sample(1, seeded())
    out = degradation.apply_differentiable(1.2 * portrait - 0.1, params)
    assert out.min() >= 0 and out.max() <= 1


def test_gradient_is_right_where_there_is_no_rounding():
    """Blur, shrink, noise, enlarge and colour against finite differences, in float64."""
    ranges = DegradationRanges((40, 40), (2, 2), (2, 2), shift=5, shift_share=1)
    degradation = Degradation(ranges, 8)
    params = degradation.sample(1, seeded())
    images = 0.4 + 0.2 * torch.rand(1, 3, 8, 8, generator=seeded(), dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: degradation.apply_differentiable(x, params), images.requires_grad_(), atol=1e-6
    )


# Errors


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(1, 3, 32, 32), "64x64"),
        (torch.zeros(3, 64, 64), "shape"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "float"),
        (torch.full((1, 3, 64, 64), float("nan")), "NaN"),
    ],
)
@pytest.mark.parametrize("method", ["apply", "apply_differentiable"])
def test_bad_images(images, message, method):
    degradation = Degradation.named("gfpgan", 64)
    with pytest.raises(ImageError, match=message):
        getattr(degradation, method)(images, degradation.sample(1, seeded()))


def test_out_of_range_images():
    degradation = Degradation.named("gfpgan", 64)
    with pytest.raises(ImageError, match=r"\[0, 1\]"):
        degradation.apply(torch.full((1, 3, 64, 64), 255.0), degradation.sample(1, seeded()))


def test_parameters_for_another_batch(portrait):
    degradation = Degradation.named("gfpgan", 64)
    with pytest.raises(DegradationError, match="2 pictures do not fit 1"):
        degradation.apply(portrait, degradation.sample(2, seeded()))


@pytest.mark.parametrize("quality", [101.0, -1.0, 50.5, math.nan])
@pytest.mark.parametrize("way", ["apply", "apply_differentiable"])
def test_a_quality_that_jpeg_does_not_know_is_refused(portrait, quality, way):
    degradation = Degradation.super_resolution(4, 64)
    params = replace(degradation.sample(1, seeded()), quality=torch.tensor([quality]))
    with pytest.raises(DegradationError, match="whole, 1 to 100, or 0 for none"):
        getattr(degradation, way)(portrait, params)


def test_double_precision_stays(portrait):
    degradation = Degradation(replace(NAMED_RANGES["codeformer"], jpeg=(50, 50)), 64)
    stages = degradation.apply(portrait.double(), degradation.sample(1, seeded()), return_stages=True)
    assert {stage.dtype for stage in stages.values()} == {torch.float64}


@pytest.mark.parametrize(
    "build",
    [
        lambda: Degradation.named("unheard-of", 64),
        lambda: Degradation.named("gfpgan", None),
        lambda: Degradation.named("gfpgan", 4),
        lambda: Degradation.super_resolution(1),
        lambda: Degradation.super_resolution(32),
        lambda: Degradation.super_resolution(16, 32),
        lambda: Degradation.of_severity(1.1, 64),
        lambda: Degradation.of_severity(float("nan"), 64),
        lambda: DegradationRanges(blur=(2, 1)),
        lambda: DegradationRanges(blur=(0, 200)),
        lambda: DegradationRanges(down=(0, 4)),
        lambda: DegradationRanges(noise=(-1, 4)),
        lambda: DegradationRanges(jpeg=(0, 50)),
        lambda: DegradationRanges(grey_share=2),
        lambda: degrade(torch.zeros(1, 3, 64, 64), severity=-0.1),
    ],
)
def test_bad_settings(build):
    with pytest.raises(DegradationError):
        build()


def test_params_are_frozen():
    params = Degradation.named("gfpgan", 64).sample(1, seeded())
    assert isinstance(params, DegradationParams)
    with pytest.raises(AttributeError):
        params.noise = torch.zeros(1)
