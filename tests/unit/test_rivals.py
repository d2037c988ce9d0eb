"""What the system is compared with: at equal parameters, of the same shapes, and able to learn."""

import runpy
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from bfr_lite import Degradation, Generator, Restorer, preset
from bfr_lite.mmrb import MMRB, PATHS
from bfr_lite.rivals import (
    GfpganLike,
    GpenLike,
    LatentSearch,
    mmrb_without,
    parameters,
)
from bfr_lite.training.configs import RestorerConfig
from bfr_lite.training.loop import step_rng
from bfr_lite.training.losses import LossWeights
from bfr_lite.training.pixels import PixelTask
from bfr_lite.training.restorer import RestorerTask

TINY = preset("tiny")
ABLATIONS = runpy.run_path(str(Path(__file__).parents[2] / "data" / "benchmarks" / "ablations.py"))
SYSTEMS = {name: row.make for name, row in ABLATIONS["ROWS"].items() if isinstance(row, ABLATIONS["System"])}
NETWORKS = {name: row.make for name, row in ABLATIONS["ROWS"].items() if isinstance(row, ABLATIONS["Network"])}
PAIRS = ("U-Net", "SRResNet")


@pytest.mark.parametrize("name", [*SYSTEMS, "plain U-Net"])
def test_rows_have_the_parameters_of_ours_within_5_percent(name):
    made = SYSTEMS[name](TINY) if name in SYSTEMS else NETWORKS[name]()
    assert abs(parameters(made) / parameters(Restorer(TINY)) - 1) < 0.05


@pytest.mark.parametrize("name", PAIRS)
def test_networks_with_either_block_have_equal_parameters_within_5_percent(name):
    own, with_mmrb = (parameters(NETWORKS[f"{name}, {block}"]()) for block in ("its own block", "MMRB"))
    assert abs(with_mmrb / own - 1) < 0.05


@pytest.mark.parametrize("path", PATHS)
def test_mmrb_without_lacks_that_path_alone(path):
    block = mmrb_without(path)(32)
    assert set(block.names) == set(PATHS) - {path}
    assert abs(parameters(block) / parameters(MMRB(32)) - 1) < 0.1  # whole channels; see the whole restorer above


@pytest.mark.parametrize("name", ["symmetric codec", "GFPGAN-like", "GPEN-like"])
def test_restorers_train_in_our_task(name, noise_faces):
    without = LossWeights(latent=0, teacher=0, redegradation=0, trust=0)
    prior = Generator(TINY.gan)
    task = RestorerTask(RestorerConfig(TINY, without), noise_faces, 4, Accelerator(cpu=True), prior, make=SYSTEMS[name])
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


@pytest.mark.parametrize("name", PAIRS)
def test_networks_learn(name, noise_faces):
    network = NETWORKS[f"{name}, its own block"](generator=torch.Generator().manual_seed(0))
    lq = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    assert torch.equal(network(lq), lq)  # an untrained one changes nothing
    task = PixelTask(network, noise_faces, 4, Accelerator(cpu=True), (Degradation.super_resolution(4, 32),))
    losses = [task.step(0, torch.arange(4), step_rng(0, 0))["pixel"] for _ in range(12)]  # the same step again
    assert losses[-1] < losses[0]
    assert task.samples().shape[0] == 3


def test_latent_search_comes_nearer_to_the_input_and_stays_a_drawing():
    prior = Generator(TINY.gan, torch.Generator().manual_seed(3)).eval().requires_grad_(False)
    clean = prior(prior.sample(2, torch.Generator().manual_seed(4))).clamp(0, 1).detach()
    average = prior(prior.w_avg.expand(2, prior.num_ws, -1)).clamp(0, 1)
    found = LatentSearch(prior, steps=40)(clean)
    assert found.shape == clean.shape
    assert (found - clean).abs().mean() < (average - clean).abs().mean()
