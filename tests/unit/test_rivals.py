"""What the system is compared with: at equal parameters, of the same shapes, and able to learn."""

from functools import partial

import pytest
import torch
from accelerate import Accelerator

from bfr_lite import Degradation, Generator, Restorer, preset
from bfr_lite.data import StoredFaces
from bfr_lite.mmrb import MMRB, PATHS
from bfr_lite.rivals import (
    GfpganLike,
    GpenLike,
    LatentSearch,
    SRResNet,
    UNet,
    full_block,
    mmrb_for_full_block,
    mmrb_without,
    parameters,
    plain_block,
    symmetric_restorer,
)
from bfr_lite.training.loop import step_rng
from bfr_lite.training.pixels import PixelTask
from bfr_lite.training.restorer import LossWeights, RestorerConfig, RestorerTask

TINY = preset("tiny")
RESTORERS = {
    "plain blocks": partial(Restorer, block=plain_block),
    **{f"without {path}": partial(Restorer, block=mmrb_without(path)) for path in PATHS},
    "symmetric": symmetric_restorer,
    "GFPGAN-like": GfpganLike,
    "GPEN-like": GpenLike,
}
NETWORKS = {
    "U-Net": (partial(UNet, full_block, 12), partial(UNet, mmrb_for_full_block, 12)),
    "SRResNet": (partial(SRResNet, full_block, 32, 8, 4), partial(SRResNet, mmrb_for_full_block, 32, 8, 4)),
}


@pytest.fixture(scope="module")
def faces() -> StoredFaces:
    pictures = torch.randint(0, 256, (8, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    points = torch.tensor([[11.0, 15], [21, 15], [16, 20], [12, 25], [20, 25]]).expand(8, -1, -1)
    return StoredFaces("noise", pictures, [str(i) for i in range(8)], points)


@pytest.mark.parametrize("name", RESTORERS)
def test_restorers_have_the_parameters_of_ours_within_5_percent(name):
    ours = parameters(Restorer(TINY))
    assert abs(parameters(RESTORERS[name](TINY)) / ours - 1) < 0.05


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_with_either_block_have_equal_parameters_within_5_percent(name):
    own, with_mmrb = (parameters(make()) for make in NETWORKS[name])
    assert abs(with_mmrb / own - 1) < 0.05


@pytest.mark.parametrize("path", PATHS)
def test_mmrb_without_lacks_that_path_alone(path):
    block = mmrb_without(path)(32)
    assert set(block.names) == set(PATHS) - {path}
    assert abs(parameters(block) / parameters(MMRB(32)) - 1) < 0.1  # whole channels; see the whole restorer above


@pytest.mark.parametrize("name", ["symmetric", "GFPGAN-like", "GPEN-like"])
def test_restorers_train_in_our_task(name, faces):
    without = LossWeights(latent=0, teacher=0, redegradation=0, trust=0)
    prior = Generator(TINY.gan)
    task = RestorerTask(RestorerConfig(TINY, without), faces, 4, Accelerator(cpu=True), prior, make=RESTORERS[name])
    before = [value.clone() for value in task.modules["restorer"].codec.parameters()]
    for step in range(3):  # heads that start at zero move first, and then what lies behind them
        report = task.step(step, torch.arange(4), step_rng(0, step))
    assert all(value == value for value in report.values())  # no NaN
    moved = [not torch.equal(a, b) for a, b in zip(before, task.modules["restorer"].codec.parameters(), strict=True)]
    assert sum(moved) > len(moved) / 2


@pytest.mark.parametrize("make", [GfpganLike, GpenLike])
def test_rivals_have_no_knob(make):
    network = make(TINY).eval()
    lq = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(network(lq, 0.0).image, network(lq, 1.0).image)
        assert network(lq).trust.abs().max() == 0


def test_gpen_like_features_reach_every_channel():
    network = GpenLike(TINY)
    output = network(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
    assert {r: shift.shape[1] for r, (_, shift) in output.conditions.items()} == {
        r: TINY.gan.channels(r) for r in (8, 16, 32)
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_learn(name, faces):
    network = NETWORKS[name][0](generator=torch.Generator().manual_seed(0))
    lq = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    assert torch.equal(network(lq), lq)  # an untrained one changes nothing
    task = PixelTask(network, faces, 4, Accelerator(cpu=True), (Degradation.super_resolution(4, 32),))
    losses = [task.step(0, torch.arange(4), step_rng(0, 0))["pixel"] for _ in range(12)]  # the same step again
    assert losses[-1] < losses[0]
    assert task.samples().shape[0] == 3


def test_latent_search_comes_nearer_to_the_input_and_stays_a_drawing(faces):
    prior = Generator(TINY.gan, torch.Generator().manual_seed(3)).eval().requires_grad_(False)
    clean = prior(prior.sample(2, torch.Generator().manual_seed(4))).clamp(0, 1).detach()
    average = prior(prior.w_avg.expand(2, prior.num_ws, -1)).clamp(0, 1)
    found = LatentSearch(prior, steps=40)(clean)
    assert found.shape == clean.shape
    assert (found - clean).abs().mean() < (average - clean).abs().mean()
