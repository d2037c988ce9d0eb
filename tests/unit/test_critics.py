"""Critics that look through a network that can see already."""

from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator

from bfr_lite import load_faces
from bfr_lite.presets import preset
from bfr_lite.training.configs import PriorConfig
from bfr_lite.training.critics import Critics, displeasure, look, train_critics
from bfr_lite.training.loop import step_rng
from bfr_lite.training.prior import PriorTask, stage_config

TINY = preset("tiny")


def make_task(size: int = 32, **options) -> PriorTask:
    config = stage_config(replace(PriorConfig(TINY.gan), **options), size)
    return PriorTask(config, load_faces("synthetic", count=8, size=size), 4, Accelerator(cpu=True))


def layers(critics: Critics) -> list[torch.nn.Conv2d]:
    return [layer for layer in critics.modules() if isinstance(layer, torch.nn.Conv2d)]


def test_a_seed_gives_the_same_critics_and_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    one, same, other = (Critics(seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["mixing_0"], other["mixing_0"])


def test_mixed_features_of_faces_have_about_unit_spread():
    """So that no scale is louder than another: what `SPREAD` is for."""
    task = make_task(size=128)
    with torch.no_grad():
        seen = task.eye(load_faces("synthetic", count=8).batch(range(8)))
    for scale, features in enumerate(seen):
        mixed = torch.nn.functional.conv2d(features, task.modules["critics"].get_buffer(f"mixing_{scale}"))
        assert 0.4 < mixed.std().item() < 2


def test_each_scale_is_scored_place_by_place_on_the_coarsest_grid():
    task = make_task(size=128)
    with torch.no_grad():
        scores = task.modules["critics"](look(task, torch.rand(2, 3, 128, 128), step_rng(0, 0)))
    assert [tuple(score.shape) for score in scores] == [(2, 1, 8, 8)] * 4


def test_no_layer_of_a_critic_enlarges_what_it_reads():
    critics = make_task().modules["critics"]
    for _ in range(20):
        critics([torch.randn(2, channels, 16 // 2**n, 16 // 2**n) for n, channels in enumerate((16, 24, 40, 112))])
    critics.eval()
    for layer in layers(critics):
        assert torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2).item() == pytest.approx(1, abs=0.1)


def test_pictures_smaller_than_the_eye_can_take_are_enlarged():
    task = make_task(size=16)
    assert look(task, torch.rand(2, 3, 16, 16), step_rng(0, 0))[-1].shape[-1] == 2


def test_critics_and_prior_pull_each_their_own_way():
    task, rng = make_task(), step_rng(0, 0)
    critics, real = task.modules["critics"], load_faces("synthetic", count=4, size=32).batch(range(4))

    def opinion(pictures: torch.Tensor) -> float:
        with torch.no_grad():
            return -displeasure(critics, task.eye(pictures)).item()

    drawn = task._draw(4, step_rng(0, 1)).detach()
    before = opinion(real) - opinion(drawn)
    for _ in range(5):
        train_critics(task, real, look(task, drawn, rng), rng)
    assert opinion(real) - opinion(drawn) > before
    with torch.no_grad():
        before = opinion(task._draw(4, step_rng(0, 2)))
    for _ in range(5):
        fake = task._draw(4, step_rng(0, 2))
        loss = displeasure(critics, task.eye(fake))
        task.optimizers["generator"].zero_grad()
        loss.backward()
        task.optimizers["generator"].step()
    with torch.no_grad():
        assert opinion(task._draw(4, step_rng(0, 2))) > before


def test_training_critics_moves_neither_the_eye_nor_what_drew():
    task, rng = make_task(), step_rng(0, 0)
    before = {name: value.clone() for name, value in task.eye.state_dict().items()}
    fake = task._draw(4, rng)
    seen = look(task, fake, rng)
    train_critics(task, torch.rand(4, 3, 32, 32), seen, rng)
    assert all(p.grad is None for p in task.modules["generator"].parameters())
    assert all(torch.equal(before[name], value) for name, value in task.eye.state_dict().items())
    displeasure(task.modules["critics"], seen).backward()  # the same look teaches the generator afterwards
    assert any(p.grad is not None and p.grad.any() for p in task.modules["generator"].parameters())


def test_a_step_reports_the_critics_and_reaches_the_generator_through_them():
    """All else equal, another weight of the critics makes another generator."""
    states = []
    for weight in (1.0, 2.0):
        task = make_task(critics=weight)
        report = task.step(1, torch.arange(4), step_rng(0, 1))
        assert {"loss_critics", "displeasure"} <= report.keys()
        states.append(task.modules["generator"].state_dict())
    assert any(not torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_without_critics_nothing_of_them_is_made():
    task = make_task(critics=0.0)
    assert "critics" not in task.modules and "critics" not in task.optimizers and not hasattr(task, "eye")
    assert "loss_critics" not in task.step(1, torch.arange(4), step_rng(0, 1))
