"""StyleGAN2's parts against slow and obvious versions of themselves. Official networks: tests/parity."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bfr_lite.discriminator import Discriminator
from bfr_lite.layers import (
    FILTER,
    ConvAct,
    EqualLinear,
    ModulatedConv,
    apply_condition,
    downsample,
    to_minus_one_one,
    to_zero_one,
    upsample,
)
from bfr_lite.presets import preset
from bfr_lite.stylegan2 import GANConfig, Generator, StyledConv, initialise, resolutions

CONFIG = preset("tiny").gan


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=seeded(seed))


@pytest.fixture(scope="module")
def generator() -> Generator:
    """With noise switched on, as after training: it starts at strength zero."""
    network = Generator(CONFIG, seeded()).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, StyledConv):
            module.noise_strength.fill_(0.3)
    return network


@pytest.fixture(scope="module")
def discriminator() -> Discriminator:
    return Discriminator(CONFIG, seeded()).eval().requires_grad_(False)


# Shapes and errors


@pytest.mark.parametrize("size", [8, 16, 32, 64])
def test_shapes_at_every_size(size):
    config = GANConfig(size, 16, 24, 2, channel_base=256, channel_max=16)
    generator, discriminator = Generator(config, seeded()), Discriminator(config, seeded())
    ws = generator.map(normal(3, 16))
    assert ws.shape == (3, 2 * np.log2(size) - 2, 24)
    images, features = generator.forward_features(ws)
    assert images.shape == (3, 3, size, size)
    assert {r: tuple(f.shape) for r, f in features.items()} == {
        r: (3, config.channels(r), r, r) for r in resolutions(size)
    }
    assert discriminator(images).shape == (3, 1)
    assert {r: tuple(f.shape) for r, f in discriminator.features(images).items()} == {
        r: (3, config.channels(r), r, r) for r in resolutions(size)
    }


def test_full_preset_has_the_layout_of_configuration_f():
    config = preset("full").gan
    assert [config.channels(r) for r in resolutions(512)] == [512, 512, 512, 512, 512, 256, 128, 64]
    assert (config.z_dim, config.w_dim, config.mapping_layers) == (512, 512, 8)


@pytest.mark.parametrize("size", [0, 4, 48, 100, -8])
def test_refuses_sizes_that_are_no_power_of_two(size):
    with pytest.raises(ValueError, match=f"power of two and at least 8, got {size}"):
        Generator(GANConfig(size))


@pytest.mark.parametrize("shape", [(2, 63), (64,), (2, 1, 64)])
def test_map_refuses_other_shapes(generator, shape):
    with pytest.raises(ValueError, match=r"z must have shape \(B, 64\), got"):
        generator.map(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(2, 64), (2, 7, 64), (2, 8, 63)])
def test_generator_refuses_other_codes(generator, shape):
    with pytest.raises(ValueError, match=r"ws must have shape \(B, 8, 64\), got"):
        generator(torch.zeros(shape))


@pytest.mark.parametrize("resolution", [4, 12, 64])
def test_generator_refuses_conditions_it_has_no_place_for(generator, resolution):
    pair = (torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1))
    with pytest.raises(ValueError, match=rf"\[{resolution}\] px: this network has \[8, 16, 32\]"):
        generator(generator.sample(1, seeded()), {resolution: pair})


@pytest.mark.parametrize("shape", [(2, 3, 64, 64), (2, 1, 32, 32), (3, 32, 32)])
def test_discriminator_refuses_other_pictures(discriminator, shape):
    with pytest.raises(ValueError, match=r"images must have shape \(B, 3, 32, 32\), got"):
        discriminator(torch.zeros(shape))


# Determinism


def test_same_seed_same_network():
    one, same, other = (Generator(CONFIG, seeded(seed)).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["blocks.8.conv.conv.weight"], other["blocks.8.conv.conv.weight"])


def test_sample_is_the_seed_mapped(generator):
    assert torch.equal(generator.sample(3, seeded(5)), generator.map(normal(3, 64, seed=5)))


def test_a_picture_does_not_depend_on_its_batch(generator):
    ws = generator.sample(4, seeded())
    torch.testing.assert_close(generator(ws)[2:3], generator(ws[2:3]), rtol=1e-4, atol=1e-4)


def test_stored_noise_gives_the_same_picture_every_time(generator):
    ws = generator.sample(2, seeded())
    assert torch.equal(generator(ws), generator(ws))


def test_fresh_noise_differs_and_follows_its_seed(generator):
    ws = generator.sample(2, seeded())
    first, again, other = (generator(ws, noise=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert not torch.allclose(first, generator(ws))


def test_fresh_noise_differs_between_pictures_of_a_batch(generator):
    one, two = generator(generator.sample(1, seeded()).expand(2, -1, -1), noise=seeded(1))
    assert not torch.allclose(one, two)


def test_noise_of_strength_zero_changes_nothing():
    network = Generator(CONFIG, seeded())
    ws = network.sample(1, seeded())
    torch.testing.assert_close(network(ws, noise=seeded(1)), network(ws), rtol=0, atol=0)


def test_global_rngs_stay_untouched():
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002 (only read)
    generator, discriminator = Generator(CONFIG), Discriminator(CONFIG)
    discriminator(generator(generator.sample(2, seeded()), noise=seeded(1)))
    after = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002 (only read)
    assert torch.equal(before[0], after[0])
    np.testing.assert_equal(after[1], before[1])
    assert before[2] == after[2]


# Mapping, truncation, equalised learning rate


def test_truncation_zero_is_the_average_and_one_the_code_itself(generator):
    generator = Generator(CONFIG, seeded())
    generator.w_avg.copy_(normal(64, seed=9))
    z = normal(3, 64)
    assert torch.equal(generator.map(z, 0.0), generator.w_avg.expand(3, 8, 64))
    assert torch.equal(generator.map(z, 1.0)[:, 0], generator.mapping(z))
    halfway = (generator.mapping(z) + generator.w_avg) / 2
    torch.testing.assert_close(generator.map(z, 0.5)[:, 3], halfway)


def test_mapping_sees_the_direction_of_z_only(generator):
    z = normal(3, 64)
    torch.testing.assert_close(generator.mapping(z), generator.mapping(7 * z), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fan_in", [16, 256])
def test_equalised_layers_keep_unit_variance_at_the_start(fan_in):
    layers = [EqualLinear(fan_in, 512), ConvAct(fan_in, 512, 3)]
    inputs = [normal(256, fan_in), normal(4, fan_in, 16, 16)]
    for layer in layers:
        initialise(layer.requires_grad_(False), seeded(1))
        assert layer.weight.std() == pytest.approx(1, abs=0.02)
    linear = layers[0](inputs[0])
    assert linear.std() == pytest.approx(1, abs=0.1)
    inner = layers[1](inputs[1])[:, :, 1:-1, 1:-1]  # zero padding dims the border
    assert inner.square().mean() == pytest.approx(1, abs=0.1)  # sqrt(2) leaky ReLU keeps E[x^2], up to slope 0.2


def test_mapping_starts_with_unit_variance_although_it_learns_100_times_slower(generator):
    weight = generator.mapping.layers[0].weight
    assert weight.std() == pytest.approx(100, rel=0.05)
    assert generator.mapping(normal(256, 64)).square().mean() == pytest.approx(1, abs=0.25)


def test_activations_keep_their_scale_through_the_generator(generator):
    _, features = generator.forward_features(generator.sample(16, seeded()))
    for resolution, feature in features.items():
        assert 0.5 < feature.square().mean().sqrt() < 2, f"at {resolution} px"


# Resampling


def slow_fir(x: np.ndarray, before: int, after: int, gain: float) -> np.ndarray:
    """One channel (H, W), every output pixel by itself."""
    kernel = np.outer(FILTER, FILTER) * gain
    padded = np.pad(x, (before, after))
    height, width = padded.shape[0] - 3, padded.shape[1] - 3
    return np.array([[(padded[i : i + 4, j : j + 4] * kernel).sum() for j in range(width)] for i in range(height)])


@pytest.mark.parametrize("shape", [(4, 4), (6, 10)])
def test_resampling_equals_a_slow_reference(shape):
    x = normal(2, 3, *shape)
    spread = np.zeros((2 * shape[0], 2 * shape[1]))
    for image, channel in [(0, 0), (1, 2)]:
        one = x[image, channel].numpy()
        spread[::2, ::2] = one
        np.testing.assert_allclose(upsample(x)[image, channel], slow_fir(spread, 2, 1, 4.0), atol=1e-5)
        np.testing.assert_allclose(downsample(x)[image, channel], slow_fir(one, 1, 1, 1.0)[::2, ::2], atol=1e-5)


def test_resampling_keeps_flat_areas():
    flat = torch.full((1, 2, 16, 16), 0.6)
    torch.testing.assert_close(upsample(flat)[:, :, 4:-4, 4:-4], torch.full((1, 2, 24, 24), 0.6))
    torch.testing.assert_close(downsample(flat)[:, :, 1:-1, 1:-1], torch.full((1, 2, 6, 6), 0.6))


def test_downsampling_lets_the_finest_stripes_fade():
    stripes = torch.tensor([0.0, 1.0]).repeat(16).expand(1, 1, 32, 32)
    assert stripes[:, :, ::2, ::2].unique().tolist() == [0.0]  # without the filter: a lie about the brightness
    torch.testing.assert_close(downsample(stripes)[:, :, 1:-1, 1:-1], torch.full((1, 1, 14, 14), 0.5))


def test_ranges_are_each_others_inverse():
    x = torch.tensor([0.0, 0.5, 1.0])
    assert to_minus_one_one(x).tolist() == [-1, 0, 1]
    assert torch.equal(to_zero_one(to_minus_one_one(x)), x)


# Modulated convolution


def textbook(layer: ModulatedConv, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """StyleGAN2, equations 1 and 3, as written: weights of its own for every picture, a grouped convolution."""
    weight = layer.weight * layer.gain * layer.affine(w)[:, None, :, None, None]
    if layer.demodulate:
        weight = weight / (weight.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).sqrt()
    batch = len(x)
    if not layer.up:
        y = F.conv2d(x.flatten(0, 1)[None], weight.flatten(0, 1), padding=layer.padding, groups=batch)
        return y[0].unflatten(0, (batch, -1))
    y = F.conv_transpose2d(x.flatten(0, 1)[None], weight.transpose(1, 2).flatten(0, 1), stride=2, groups=batch)
    kernel = 4 * torch.outer(torch.tensor(FILTER), torch.tensor(FILTER))
    return F.conv2d(y[0][:, None], kernel[None, None], padding=1)[:, 0].unflatten(0, (batch, -1))


@pytest.mark.parametrize(
    ("kernel", "demodulate", "up"),
    [(3, True, False), (3, True, True), (3, False, False), (3, False, True), (1, False, False)],
)
def test_scaling_the_input_equals_scaling_the_weights(kernel, demodulate, up):
    layer = ModulatedConv(6, 5, kernel, 10, demodulate=demodulate, up=up)
    initialise(layer, seeded(1))
    x, w = normal(3, 6, 8, 8), normal(3, 10, seed=2)
    y = layer(x, w)
    assert y.shape == ((3, 5, 16, 16) if up else (3, 5, 8, 8))
    torch.testing.assert_close(y, textbook(layer, x, w), rtol=1e-4, atol=1e-5)


def test_demodulation_undoes_the_scale_of_the_style():
    layer = ModulatedConv(16, 32, 3, 8)
    initialise(layer, seeded(1))
    x, w = normal(2, 16, 16, 16), normal(2, 8, seed=2)
    before = layer(x, w)
    with torch.no_grad():
        layer.affine.weight.mul_(5)
        layer.affine.bias.mul_(5)
    torch.testing.assert_close(layer(x, w), before, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("noise", [None, seeded(1)], ids=["stored", "drawn"])
def test_what_is_added_lies_in_memory_as_features_do(generator, noise):
    """Adding across two layouts took a quarter of a picture's time."""
    seen = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, given: seen.extend((given[0], given[2])) if len(given) > 2 else None)
        for layer in generator.modules()
        if isinstance(layer, ModulatedConv)
    ]
    generator(generator.sample(2, seeded()), noise=noise)
    for hook in hooks:
        hook.remove()
    assert len(seen) == 2 * (2 * len(generator.resolutions) - 1)  # a convolution at 4 px, two at each size above
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in seen)


# Conditions


def conditions(generator: Generator, batch: int, value: float, seed: int = 3) -> dict:
    return {
        r: tuple(value * normal(batch, generator.config.channels(r) // 2, r, r, seed=seed + i) for i in range(2))
        for r in generator.resolutions[1:]
    }


def test_zero_conditions_change_nothing(generator):
    ws = generator.sample(2, seeded())
    assert torch.equal(generator(ws, conditions(generator, 2, 0.0)), generator(ws))


def test_conditions_change_the_picture(generator):
    ws = generator.sample(2, seeded())
    assert not torch.allclose(generator(ws, conditions(generator, 2, 0.5)), generator(ws), atol=0.01)


def test_apply_condition_is_the_spatial_feature_transform_of_the_second_half():
    x, scale, shift = normal(2, 6, 4, 4), normal(2, 3, 4, 4, seed=1), normal(2, 3, 4, 4, seed=2)
    y = apply_condition(x, scale, shift)
    assert torch.equal(y[:, :3], x[:, :3])
    torch.testing.assert_close(y[:, 3:], x[:, 3:] * (1 + scale) + shift)


@pytest.mark.parametrize("resolution", [8, 16, 32])
def test_conditions_act_between_the_convolutions_on_half_of_the_channels(generator, resolution):
    ws, seen = generator.sample(2, seeded()), []
    hook = generator.blocks[str(resolution)].conv.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    both = conditions(generator, 2, 0.5)
    generator(ws)
    generator(ws, {resolution: both[resolution]})
    hook.remove()
    plain, conditioned = seen
    half = plain.shape[1] // 2
    assert torch.equal(plain[:, :half], conditioned[:, :half])
    scale, shift = both[resolution]
    torch.testing.assert_close(conditioned[:, half:], plain[:, half:] * (1 + scale) + shift)


def test_a_condition_leaves_lower_resolutions_alone(generator):
    ws = generator.sample(1, seeded())
    _, plain = generator.forward_features(ws)
    _, conditioned = generator.forward_features(ws, {16: conditions(generator, 1, 0.5)[16]})
    assert [torch.equal(plain[r], conditioned[r]) for r in (4, 8, 16, 32)] == [True, True, False, False]


# Skip generator and discriminator


def test_picture_is_the_sum_of_what_every_resolution_adds(generator):
    ws, added = generator.sample(2, seeded()), {}
    hooks = [
        block.to_rgb.register_forward_hook(lambda _, __, output, r=int(r): added.update({r: output}))
        for r, block in generator.blocks.items()
    ]
    picture = generator(ws)
    for hook in hooks:
        hook.remove()
    total = torch.zeros(2, 3, 32, 32)
    for contribution in added.values():
        while contribution.shape[-1] < 32:
            contribution = upsample(contribution)
        total += contribution
    torch.testing.assert_close(to_zero_one(total), picture, rtol=1e-4, atol=1e-4)


def test_each_code_reaches_its_own_layers_only(generator):
    ws = generator.sample(1, seeded())
    _, plain = generator.forward_features(ws)
    first_changed = []
    for index in range(generator.num_ws):
        other = ws.clone()
        other[:, index] += 1
        _, features = generator.forward_features(other)
        changed = [r for r in generator.resolutions if not torch.equal(plain[r], features[r])]
        first_changed.append(changed[0] if changed else "picture")
    assert first_changed == [4, 8, 8, 16, 16, 32, 32, "picture"]


def slow_minibatch_std(x: torch.Tensor, group: int) -> torch.Tensor:
    """Picture n is compared with every (B / group)-th one: the official order."""
    step, values = len(x) // group, []
    for n in range(len(x)):
        members = [x[m].double() for m in range(n % step, len(x), step)]
        mean = sum(members) / group
        values.append((sum((one - mean) ** 2 for one in members) / group + 1e-8).sqrt().mean())
    return torch.stack(values).float()


@pytest.mark.parametrize(("batch", "group"), [(8, 4), (4, 4), (3, 3), (2, 2), (6, 2), (1, 1)])
def test_minibatch_std_equals_a_slow_reference(discriminator, batch, group):
    x, seen = normal(batch, CONFIG.channels(4), 4, 4), []
    hook = discriminator.conv.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    discriminator.score(x)
    hook.remove()
    (appended,) = seen
    assert torch.equal(appended[:, :-1], x)
    expected = slow_minibatch_std(x, group)[:, None, None].expand(-1, 4, 4)
    torch.testing.assert_close(appended[:, -1], expected)


def test_minibatch_std_gives_a_collapsed_generator_away(discriminator):
    pictures = torch.rand(4, 3, 32, 32, generator=seeded())
    same = pictures[:1].expand(4, -1, -1, -1)
    assert discriminator(same)[0].item() != pytest.approx(discriminator(pictures)[0].item(), rel=1e-3)


def test_discriminator_score_comes_from_its_last_features(discriminator):
    pictures = torch.rand(4, 3, 32, 32, generator=seeded())
    assert torch.equal(discriminator.score(discriminator.features(pictures)[4]), discriminator(pictures))


def test_residual_block_is_two_paths_halved_in_power(discriminator):
    block, x = discriminator.blocks["32"], normal(1, CONFIG.channels(32), 32, 32)
    main, skip = block.conv_down(block.conv(x)), block.skip(x)
    assert main.shape == skip.shape == (1, CONFIG.channels(16), 16, 16)
    torch.testing.assert_close(block(x), (main + skip) * 2**-0.5)


def test_gradients_reach_every_parameter():
    generator, discriminator = Generator(CONFIG, seeded()), Discriminator(CONFIG, seeded())
    discriminator(generator(generator.sample(4, seeded()), noise=seeded(1))).sum().backward()
    for network in (generator, discriminator):
        dead = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
        assert dead == []
