"""The MMRB: fits anywhere, trains everywhere, and each path does its own share."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bfr_lite.mmrb import MMRB, PATHS, ChannelGate, high_pass


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=seeded(seed))


@pytest.mark.parametrize("channels", [4, 5, 7, 16, 33, 96])
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (5, 9), (16, 17)])
def test_keeps_the_shape_of_any_features(channels, size):
    x = noise(2, channels, *size)
    out = MMRB(channels)(x)
    assert out.shape == x.shape
    assert out.isfinite().all() and not torch.equal(out, x)


def test_gradients_reach_every_parameter_and_the_input():
    block, x = MMRB(16), noise(2, 16, 8, 8).requires_grad_()
    (block(x) * noise(2, 16, 8, 8, seed=2)).sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in block.parameters())
    assert x.grad.abs().min() > 0


@pytest.mark.parametrize("name", PATHS)
def test_each_path_alone_fills_the_block(name):
    block, x = MMRB(16, paths=(name,)), noise(1, 16, 8, 8)
    assert list(block.responses(x)) == [name]
    assert block.reduce.out_channels == block.fuse.in_channels == 4
    assert not torch.equal(block(x), x)


@pytest.mark.parametrize("name", PATHS)
def test_a_path_left_out_costs_no_parameters(name):
    rest = MMRB(16, paths=tuple(path for path in PATHS if path != name))
    assert name not in rest.names and name not in dict(rest.paths)
    assert sum(p.numel() for p in rest.parameters()) < sum(p.numel() for p in MMRB(16).parameters())


@pytest.mark.parametrize("name", PATHS)
def test_a_silenced_path_answers_zero_and_changes_the_block_until_it_is_active_again(name):
    block, x = MMRB(16), noise(1, 16, 8, 8)
    before, answers = block(x), block.responses(x)
    block.active = block.active - {name}
    silent = block.responses(x)
    assert not silent[name].any()
    earlier, later = PATHS[: PATHS.index(name)], PATHS[PATHS.index(name) + 1 :]
    assert all(torch.equal(silent[path], answers[path]) for path in earlier)
    assert all(not torch.equal(silent[path], answers[path]) for path in later)  # they lack what it made
    if earlier and later:  # the next one hears the last that is not silent
        dealt = dict(zip(PATHS, block.reduce(x).chunk(len(PATHS), dim=1), strict=True))
        dealt["texture"] = high_pass(dealt["texture"])
        assert torch.equal(silent[later[0]], block.paths[later[0]](dealt[later[0]] + silent[earlier[-1]]))
    assert not torch.equal(block(x), before)
    block.active = block.active | {name}
    assert torch.equal(block(x), before)


def test_with_every_path_silent_only_the_bias_of_the_fusion_is_left():
    block, x = MMRB(16), noise(1, 16, 8, 8)
    block.active = set()
    assert torch.equal(block(x), x)  # that bias starts at zero


def test_each_path_hands_its_result_on_to_the_next():
    block, x = MMRB(16), noise(1, 16, 8, 8)
    answers = block.responses(x)
    dealt = dict(zip(PATHS, block.reduce(x).chunk(5, dim=1), strict=True))
    dealt["texture"] = high_pass(dealt["texture"])
    before = 0.0
    for name in PATHS:
        torch.testing.assert_close(answers[name], block.paths[name](dealt[name] + before))
        before = answers[name]


def test_paths_come_in_their_own_order_however_they_are_named():
    assert MMRB(16, paths=tuple(reversed(PATHS))).names == PATHS


@pytest.mark.parametrize(("name", "reach"), [("point", 0), ("local", 1), ("wide", 2), ("dilated", 2), ("texture", 2)])
def test_each_path_sees_as_far_as_its_layers_say(name, reach):
    block, x = MMRB(8, paths=(name,)), noise(1, 8, 13, 13).requires_grad_()
    block.responses(x)[name][..., 6, 6].sum().backward()
    rows = x.grad.abs().sum(dim=(0, 1, 3)).nonzero()[:, 0]
    assert rows.min() == 6 - reach and rows.max() == 6 + reach


def test_high_pass_is_zero_on_flat_areas_up_to_the_border():
    assert high_pass(torch.full((1, 3, 7, 5), 0.7)).abs().max() < 1e-6
    spot = torch.zeros(1, 1, 5, 5)
    spot[..., 2, 2] = 9
    expected = F.pad(torch.full((1, 1, 3, 3), -1.0), (1, 1, 1, 1))
    expected[..., 2, 2] = 8
    torch.testing.assert_close(high_pass(spot), expected)


def test_gate_weighs_whole_channels_between_zero_and_two():
    gate = ChannelGate(16)
    nn.init.normal_(gate.squeeze.weight, generator=seeded())
    nn.init.normal_(gate.excite.weight, generator=seeded())
    x = noise(3, 16, 6, 6)
    weights = gate(x) / x
    assert weights.min() > 0 and weights.max() < 2
    torch.testing.assert_close(weights, weights.mean(dim=(2, 3), keepdim=True).expand_as(x))
    assert weights[..., 0, 0].std() > 0.01


def test_pictures_of_a_batch_do_not_mix():
    block, x = MMRB(16), noise(3, 16, 8, 8)
    torch.testing.assert_close(block(x), torch.cat([block(one) for one in x.split(1)]))


def test_same_seed_same_block_and_another_seed_another_block():
    first, again, other = (MMRB(16, generator=seeded(seed)).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["fuse.weight"], other["fuse.weight"])


def test_construction_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    MMRB(16)
    MMRB(16, generator=seeded())
    assert torch.equal(before, torch.random.get_rng_state())


def test_has_no_normalisation_layer_and_does_the_same_in_training():
    block, x = MMRB(16), noise(2, 16, 8, 8)
    assert not any("Norm" in type(module).__name__ for module in block.modules())
    assert torch.equal(block.train()(x), block.eval()(x))


def test_weights_travel_by_state_dict():
    block, x = MMRB(16, generator=seeded(1)), noise(1, 16, 8, 8)
    other = MMRB(16, generator=seeded(2))
    other.load_state_dict(block.state_dict())
    assert torch.equal(block(x), other(x))


def test_width_sets_the_channels_of_each_path():
    block = MMRB(16, width=6)
    assert all(answer.shape[1] == 6 for answer in block.responses(noise(1, 16, 8, 8)).values())


def test_stands_in_for_a_strangers_residual_block():
    stranger = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), MMRB(12), nn.PixelShuffle(2))
    assert stranger(noise(1, 3, 9, 11)).shape == (1, 3, 18, 22)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 3}, "at least 4, got 3"),
        ({"channels": 16, "paths": ()}, "some of"),
        ({"channels": 16, "paths": ("local", "global")}, "'global'"),
    ],
)
def test_refuses_what_cannot_work_and_says_what_would(arguments, message):
    with pytest.raises(ValueError, match=message):
        MMRB(**arguments)
