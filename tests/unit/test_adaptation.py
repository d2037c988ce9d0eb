"""Test-time adaptation: the damage is guessed, the face fits its photo better, nothing else moves."""

import pytest
import torch

from bfr_lite import Degradation, Restorer, load_faces
from bfr_lite.adaptation import adapt, guess_damage
from bfr_lite.training.losses import charbonnier


@pytest.fixture(scope="module")
def restorer():
    return Restorer.from_pretrained("lite")


@pytest.fixture(scope="module")
def pair():
    """A clean face (1, 3, 128, 128), its damage, and the damaged face."""
    clean = load_faces("synthetic", split="test", count=1).batch([0])
    degradation = Degradation.named("gfpgan", 128)
    params = degradation.sample(1, torch.Generator().manual_seed(3))
    return clean, params, degradation.apply(clean, params)


def test_the_guess_is_nearer_than_most_draws_and_free_of_noise(pair):
    clean, _, lq = pair
    degradation = Degradation.named("gfpgan", 128)
    guess, distance = guess_damage(clean, lq, degradation, torch.Generator().manual_seed(0))
    assert len(guess) == 1 and guess.noise.item() == 0 and not guess.shift.any() and not guess.grey.any()
    assert charbonnier(degradation.apply(clean, guess), lq).item() == pytest.approx(distance, abs=1e-6)
    others = degradation.sample(30, torch.Generator().manual_seed(9))
    apart = (degradation.apply(clean.expand(30, -1, -1, -1), others) - lq).abs().mean(dim=(1, 2, 3))
    assert distance < apart.quantile(0.1)


def test_the_face_explains_its_photo_better_and_the_restorer_stays(restorer, pair):
    weights = {name: value.clone() for name, value in restorer.state_dict().items()}
    steps = []
    adapted = adapt(restorer, pair[2], 0.5, steps=6, on_step=steps.append)
    assert steps == [1, 2, 3, 4, 5, 6] and len(adapted.distances) == 7
    assert adapted.distances[-1] < 0.95 * adapted.distances[0]
    torch.testing.assert_close(adapted.before, restorer.restore(pair[2], 0.5))
    assert adapted.after.shape == (1, 3, 128, 128) and not torch.equal(adapted.after, adapted.before)
    assert all(torch.equal(value, weights[name]) for name, value in restorer.state_dict().items())
    assert all(parameter.grad is None for parameter in restorer.parameters())


def test_the_same_seed_gives_the_same_face(restorer, pair):
    one, other = (adapt(restorer, pair[2], steps=2) for _ in range(2))
    assert torch.equal(one.after, other.after)


def test_one_face_and_one_step_at_least(restorer, pair):
    with pytest.raises(ValueError, match="2 faces"):
        adapt(restorer, pair[2].expand(2, -1, -1, -1))
    with pytest.raises(ValueError, match="0 steps"):
        adapt(restorer, pair[2], steps=0)
