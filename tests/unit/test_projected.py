"""The discriminator on ImageNet features."""

import pytest
import torch

from bfr_lite.imagenet import ImageNetFeatures
from bfr_lite.training.losses import discriminator_loss
from bfr_lite.training.projected import ProjectedDiscriminator, see


@pytest.fixture(scope="module")
def eye():
    return ImageNetFeatures()


def judge_of(eye, seed=0):
    return ProjectedDiscriminator(eye, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [16, 128, 160])
def test_scores_many_places_of_pictures_of_any_size(eye, size):
    images = torch.rand(2, 3, size, size, requires_grad=True)
    scores = judge_of(eye)(see(eye, images))
    assert scores.shape == (2, 4 * 16)
    assert scores.abs().mean() < 3, "an untrained judge has no strong opinion"
    scores.sum().backward()
    assert images.grad.abs().sum() > 0


def test_the_seed_alone_determines_it(eye):
    before = torch.get_rng_state()
    states = [judge_of(eye, seed).state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])
    assert torch.equal(before, torch.get_rng_state())


def test_heads_learn_and_the_mixing_stays(eye):
    """It tells sharp noise from blurred noise after a few steps."""
    judge, rng = judge_of(eye), torch.Generator().manual_seed(0)
    trained = [name for name, parameter in judge.named_parameters() if parameter.requires_grad]
    assert trained and all(name.startswith("heads") for name in trained)
    real = torch.rand(8, 3, 32, 32, generator=rng)
    fake = torch.nn.functional.avg_pool2d(real, 3, stride=1, padding=1)
    features = [[part.detach() for part in see(eye, images)] for images in (real, fake)]
    optimizer = torch.optim.Adam(judge.heads.parameters(), lr=2.5e-3, betas=(0.0, 0.99))
    losses = []
    for _ in range(15):
        loss = discriminator_loss(*(judge(part) for part in features))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
