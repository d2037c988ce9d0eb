"""The Fréchet distance, against cases whose answer is known."""

import time

import pytest
import torch

from bfr_lite.frechet import FaceFeatures, frechet_distance, precision_recall
from bfr_lite.images import resize


def draw(count, dimensions, seed):
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_same_features_are_at_distance_zero():
    features = draw(50, 80, 0)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-8)


def test_a_shift_costs_its_squared_length():
    features = draw(50, 8, 0)
    assert frechet_distance(features, features + 2) == pytest.approx(8 * 4)


def test_scaling_costs_the_difference_of_the_deviations():
    """Gaussians with C and s^2 C: Tr(C) (1 - s)^2."""
    features = draw(200, 8, 0)
    centred = features - features.mean(dim=0)
    trace = centred.square().sum().item() / 199
    assert frechet_distance(centred, 3 * centred) == pytest.approx(4 * trace)


def test_agrees_with_the_matrix_root_of_the_definition():
    a, b = draw(300, 6, 0) @ draw(6, 6, 1), draw(200, 6, 2) @ draw(6, 6, 3) + 1
    values, vectors = torch.linalg.eigh(torch.cov(a.T))
    root = vectors @ values.sqrt().diag() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ torch.cov(b.T) @ root).clamp(min=0).sqrt().sum()
    by_hand = (a.mean(0) - b.mean(0)).square().sum() + torch.cov(a.T).trace() + torch.cov(b.T).trace() - 2 * cross
    assert frechet_distance(a, b) == pytest.approx(by_hand.item())


@pytest.mark.parametrize("other", [(1, 8), (5, 7), (5,)])
def test_sets_that_do_not_fit_are_refused(other):
    with pytest.raises(ValueError, match="two sets"):
        frechet_distance(draw(5, 8, 0), torch.zeros(other))


def test_features_of_any_size_are_vectors():
    assert FaceFeatures()([torch.rand(2, 3, 32, 32), torch.rand(1, 3, 64, 64)]).shape == (3, 1280)


def test_precision_and_recall_tell_quality_from_variety():
    rng = torch.Generator().manual_seed(0)
    real = torch.randn(200, 2, generator=rng)
    half = real[real[:, 0] > 0][:80] + 0.01
    precision, recall = precision_recall(half, real)
    assert precision > 0.95, "all of it looks real"
    assert recall < 0.7, "half of the variety is missing"
    assert precision_recall(real + 100, real) == (0.0, 0.0)
    assert precision_recall(real, real) == (1.0, 1.0)


@pytest.mark.parametrize(("shape", "neighbours"), [((10, 3), 3), ((10, 2), 10), ((10, 2), 0)])
def test_precision_of_sets_that_do_not_fit(shape, neighbours):
    with pytest.raises(ValueError, match=r"needed|neighbours must"):
        precision_recall(torch.zeros(shape), torch.zeros(20, 2), neighbours)


def test_thousands_of_features_are_no_matrix_of_thousands():
    a, b = torch.randn(2, 4000, 8, generator=torch.Generator().manual_seed(0))
    start = time.process_time()
    assert 0 < frechet_distance(a, b) < 0.05
    assert time.process_time() - start < 2


def test_features_are_those_of_the_size_that_is_named():
    small = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    features = FaceFeatures()
    torch.testing.assert_close(features([small]), features([resize(small, 128)]))
