"""Each loss against a computation of its own, written out."""

import math

import pytest
import torch
import torch.nn.functional as F

from bfr_lite.alignment import template
from bfr_lite.training.losses import (
    charbonnier,
    discriminator_loss,
    feature_distance,
    generator_loss,
    landmark_weight,
    look_closer,
    r1_penalty,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def softplus(score: float) -> float:
    return math.log1p(math.exp(score))


def test_discriminator_loss_is_the_cross_entropy_of_both_kinds():
    real, fake = draw(5, 1), draw(5, 1, seed=1)
    by_hand = sum(softplus(-score) for score in real.flatten().tolist()) / 5
    by_hand += sum(softplus(score) for score in fake.flatten().tolist()) / 5
    assert discriminator_loss(real, fake).item() == pytest.approx(by_hand, rel=1e-5)


def test_a_discriminator_that_knows_nothing_loses_two_bits():
    assert discriminator_loss(torch.zeros(3, 1), torch.zeros(3, 1)).item() == pytest.approx(2 * math.log(2))


def test_discriminator_loss_rewards_the_right_order():
    high, low = torch.full((4, 1), 5.0), torch.full((4, 1), -5.0)
    assert discriminator_loss(high, low) < 0.02 < 9 < discriminator_loss(low, high)


def test_generator_loss_is_not_saturating():
    """Its gradient stays near one where the discriminator is sure of the fake, and dies out where it is fooled."""
    scores = torch.tensor([[-8.0], [8.0]], requires_grad=True)
    loss = generator_loss(scores)
    assert loss.item() == pytest.approx((softplus(8) + softplus(-8)) / 2, rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, scores)
    assert gradient.flatten().tolist() == pytest.approx([-0.5, 0], abs=1e-3)


def test_r1_of_a_linear_score_is_a_quarter_of_its_squared_slope():
    """Half the step in [0, 1] is a whole one in [-1, 1]: in that unit every slope is half as steep."""
    slope = draw(3, 4, 4)
    images = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
    penalty = r1_penalty((images * slope).sum(dim=(1, 2, 3)), images)
    assert penalty.item() == pytest.approx(slope.square().sum().item() / 4, rel=1e-5)


def test_r1_is_that_of_published_code_in_its_own_unit():
    kernel, last = draw(4, 3, 3, 3) / 4, draw(4 * 36, 1, seed=1)

    def score(pictures):
        return F.conv2d(pictures, kernel).tanh().flatten(1) @ last

    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(9)).requires_grad_()
    ours = r1_penalty(score(images * 2 - 1), images)
    theirs = (images.detach() * 2 - 1).requires_grad_()
    (gradient,) = torch.autograd.grad(score(theirs).sum(), theirs)
    torch.testing.assert_close(ours, gradient.square().sum(dim=(1, 2, 3)).mean())


def test_r1_can_be_minimised():
    """It is a gradient's norm, so its own gradient needs the graph of the first one."""
    images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    slope = draw(3, 4, 4).requires_grad_()
    r1_penalty((images * slope).sum(dim=(1, 2, 3)), images).backward()
    torch.testing.assert_close(slope.grad, slope.detach() / 2)


def test_charbonnier_is_the_mean_of_its_formula():
    output, target = draw(2, 3, 4, 4), draw(2, 3, 4, 4, seed=1)
    differences = (output - target).flatten().tolist()
    by_hand = sum(math.sqrt(d**2 + 0.1**2) for d in differences) / len(differences)
    assert charbonnier(output, target, epsilon=0.1).mean().item() == pytest.approx(by_hand, rel=1e-5)


def test_charbonnier_is_l1_for_large_differences():
    output, target = 10 * draw(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    torch.testing.assert_close(charbonnier(output, target).mean(), output.abs().mean(), rtol=1e-5, atol=1e-4)


def test_charbonnier_has_a_finite_gradient_at_zero():
    """Where a plain square root would answer with NaN."""
    output = torch.zeros(1, 3, 2, 2, requires_grad=True)
    loss = charbonnier(output, torch.zeros(1, 3, 2, 2))
    loss.backward()
    assert loss.item() == pytest.approx(1e-3)
    assert torch.equal(output.grad, torch.zeros(1, 3, 2, 2))


def test_charbonnier_weighs_pixels():
    output, target = draw(2, 3, 4, 4), draw(2, 3, 4, 4, seed=1)
    weight = torch.zeros(4, 4)
    weight[1, 2] = 16.0
    alone = charbonnier(output[..., 1:2, 2:3], target[..., 1:2, 2:3])
    torch.testing.assert_close(charbonnier(output, target, weight=weight), alone)


def test_landmarks_weigh_most():
    weight = landmark_weight(128, 3.0)
    assert weight.shape == (128, 128)
    for x, y in template(128).round().astype(int):
        assert weight[y, x] == weight[y - 3 : y + 4, x - 3 : x + 4].max() > 3.9
    corners = weight[[0, 0, -1, -1], [0, -1, 0, -1]]
    torch.testing.assert_close(corners, torch.ones(4), atol=1e-3, rtol=0)
    shrunk = F.avg_pool2d(weight[None, None], 4)[0, 0]  # the same map at every size
    torch.testing.assert_close(landmark_weight(32, 3.0), shrunk, atol=0.15, rtol=0)


def test_a_closer_look_is_at_the_middle_at_twice_the_scale():
    """In a face whose pixels hold their column, row and number."""
    rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    faces = torch.stack([torch.stack([columns, rows, torch.full_like(rows, i)]) for i in range(4)])
    found = look_closer(faces, torch.tensor([False, True, False, True]))
    assert torch.equal(found[::2], faces[::2])
    assert found[:, 2].amax(dim=(1, 2)).tolist() == [0, 1, 2, 3]
    inside = found[1, :2, 1:-1, 1:-1]
    torch.testing.assert_close(inside[0].diff(dim=1), torch.full((126, 125), 0.5))
    torch.testing.assert_close(inside[1].diff(dim=0), torch.full((125, 126), 0.5))
    (left, right), (top, bottom) = ((part.min().item(), part.max().item()) for part in inside)
    points = template(128)
    assert left < points[:, 0].min() - 15 and right > points[:, 0].max() + 15
    assert top < points[:, 1].min() - 10 and bottom > points[:, 1].max() + 15


def features(seed: int) -> list[torch.Tensor]:
    return [draw(2, 6, 8, 8, seed=seed), draw(2, 10, 4, 4, seed=seed + 1)]


def test_feature_distance_is_the_mean_over_layers_of_normalised_differences():
    layers = []
    for a, b in zip(features(0), features(7), strict=True):
        unit_a, unit_b = (x / x.square().sum(dim=1, keepdim=True).sqrt() for x in (a, b))
        layers.append((unit_a - unit_b).abs().sum(dim=1).mean())
    torch.testing.assert_close(feature_distance(features(0), features(7)), (layers[0] + layers[1]) / 2)


def test_feature_distance_of_equals_is_zero():
    assert feature_distance(features(0), features(0)).item() == 0


def test_feature_distance_sees_no_scale():
    """A layer twice as loud counts no more, nor does a loud place in it."""
    loud = [a * factor for a, factor in zip(features(0), (2.0, 100.0), strict=True)]
    loud[0] = loud[0] * (1 + torch.arange(8.0))
    torch.testing.assert_close(feature_distance(loud, features(7)), feature_distance(features(0), features(7)))


def test_feature_distance_of_silent_features_is_finite():
    silent = [torch.zeros(1, 4, 2, 2, requires_grad=True)]
    feature_distance(silent, [draw(1, 4, 2, 2)]).backward()
    assert silent[0].grad.isfinite().all()


def test_feature_distance_refuses_unequal_layers():
    with pytest.raises(ValueError, match="shorter"):
        feature_distance(features(0), features(0)[:1])


def test_feature_distance_takes_the_maps_of_a_dict():
    maps = dict(enumerate(features(0)))
    others = dict(enumerate(features(7)))
    assert feature_distance(maps.values(), others.values()) == feature_distance(features(0), features(7))
