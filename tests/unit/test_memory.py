"""Gradient checkpointing: the same gradients and draws, the double backward of R1 too, and far less memory."""

import copy

import pytest
import torch
from accelerate import Accelerator

from bfr_lite import Generator, Restorer, preset
from bfr_lite.discriminator import Discriminator
from bfr_lite.training.configs import PriorConfig, RestorerConfig
from bfr_lite.training.loop import step_rng
from bfr_lite.training.memory import checkpoint_blocks
from bfr_lite.training.prior import PriorTask
from bfr_lite.training.restorer import RestorerTask

TINY = preset("tiny")


def both(network):
    """A network, and a copy of it with its blocks checkpointed."""
    cheap = copy.deepcopy(network)
    checkpoint_blocks(cheap)
    return network, cheap


def kept_bytes(work) -> int:
    storages = {}

    def pack(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = work()
    assert result.requires_grad
    return sum(storages.values())


def test_generator_keeps_less_and_has_the_same_gradients_with_noise():
    plain, cheap = both(Generator(TINY.gan, torch.Generator().manual_seed(0)))
    for network in (plain, cheap):
        for name, parameter in network.named_parameters():
            if name.endswith("noise_strength"):
                parameter.data.fill_(0.5)
    ws = plain.sample(8, torch.Generator().manual_seed(1)).detach()
    found, states = [], []
    for network in (plain, cheap):
        rng = torch.Generator().manual_seed(2)
        picture = network(ws, noise=rng)
        states.append(rng.get_state())
        parameters = [p for name, p in network.named_parameters() if not name.startswith("mapping")]
        found.append([picture, *torch.autograd.grad(picture.square().mean(), parameters)])
        assert torch.equal(rng.get_state(), states[-1])  # the way back draws again, and puts the source back
    assert torch.equal(*states)
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)
    assert kept_bytes(lambda: cheap(ws)) < kept_bytes(lambda: plain(ws)) / 3


def test_second_derivatives_of_the_discriminator_are_the_same():
    real = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    found = []
    for network in both(Discriminator(TINY.gan, torch.Generator().manual_seed(0))):
        pictures = real.clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(network(pictures).sum(), pictures, create_graph=True)
        penalty = slope.square().sum()
        # the last bias shifts every score alike, and the slope does not see it
        found.append([penalty, *torch.autograd.grad(penalty, list(network.parameters()), allow_unused=True)])
    for a, b in zip(*found, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("what", ["prior", "restorer"])
def test_training_steps_are_the_same(what, noise_faces):
    reports = []
    for checkpointed in (False, True):
        if what == "prior":
            task = PriorTask(PriorConfig(TINY.gan), noise_faces, 4, Accelerator(cpu=True))
        else:
            prior = Generator(TINY.gan, torch.Generator().manual_seed(0))
            task = RestorerTask(RestorerConfig(TINY), noise_faces, 4, Accelerator(cpu=True), prior)
        if checkpointed:
            for module in task.modules.values():
                checkpoint_blocks(module)
        reports.append([task.step(step, torch.arange(4), step_rng(0, step)) for step in range(2)])
    for a, b in zip(*reports, strict=True):
        assert b == pytest.approx(a, rel=1e-3, abs=1e-5)


def test_what_learns_nothing_is_left_alone():
    frozen = Restorer(TINY).requires_grad_(False)
    checkpoint_blocks(frozen)
    assert not [block for block in frozen.modules() if "forward" in vars(block)]
