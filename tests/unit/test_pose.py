"""Turning heads on aligned portraits."""

import pytest
import torch

from bfr_lite.alignment import estimate_pitch, estimate_yaw, template
from bfr_lite.face_sets import StoredFaces
from bfr_lite.pose import MOST_PITCH, MOST_YAW, turn
from bfr_lite.training import batches
from bfr_lite.training.augment import random_turn

SIZE = 64
POINTS = torch.from_numpy(template(SIZE))


def dots(points: torch.Tensor) -> torch.Tensor:
    """A grey picture (1, 3, SIZE, SIZE) with a soft spot of its own brightness at each of five points."""
    along = torch.arange(SIZE)
    spots = [torch.exp(-((along - y)[:, None] ** 2 + (along - x)[None] ** 2) / 4) for x, y in points]
    return torch.stack(spots).sum(0).expand(1, 3, -1, -1).float()


def found(image: torch.Tensor, near: torch.Tensor, reach: int = 6) -> torch.Tensor:
    """Centres (5, 2) of the spots within `reach` of where they were."""
    centres = []
    for x, y in near.round().long().tolist():
        part = image[0, 0, y - reach : y + reach + 1, x - reach : x + reach + 1].clamp(min=0.1) - 0.1
        offset = torch.arange(-reach, reach + 1.0)
        centres.append([x + (part.sum(0) @ offset / part.sum()).item(), y + (part.sum(1) @ offset / part.sum()).item()])
    return torch.tensor(centres)


def angles(value: float, count: int = 1) -> torch.Tensor:
    return torch.full((count,), value)


@pytest.mark.parametrize("landmarks", [None, POINTS[None].float() + 1])
def test_angle_zero_is_the_picture_itself(landmarks):
    image = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(turn(image, angles(0.0), angles(0.0), landmarks), image, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("yaw", "pitch"), [(-15.0, 0.0), (15.0, 0.0), (0.0, -8.0), (0.0, 8.0)])
def test_landmarks_turn_the_way_that_was_asked(yaw, pitch):
    turned = found(turn(dots(POINTS), angles(yaw), angles(pitch)), POINTS).numpy()
    before = found(dots(POINTS), POINTS).numpy()
    changes = [float(estimate(turned) - estimate(before)) for estimate in (estimate_yaw, estimate_pitch)]
    wanted, other = (changes[0], changes[1]) if yaw else (changes[1], changes[0])
    assert wanted * (yaw or pitch) > 0 and 0.5 < abs(wanted) / abs(yaw or pitch) < 2
    assert abs(other) < 5


def test_turned_faces_stay_aligned():
    turned = turn(dots(POINTS), angles(18.0), angles(0.0))
    assert (found(turned, POINTS).mean(0) - POINTS.mean(0)).abs().max() < 1


def test_each_picture_has_its_own_angle_and_gradients_pass():
    images = dots(POINTS).expand(2, -1, -1, -1).clone().requires_grad_()
    both = turn(images, torch.tensor([12.0, -5.0]), angles(3.0, 2))
    alone = turn(images[1:], torch.tensor([-5.0]), angles(3.0))
    torch.testing.assert_close(both[1:], alone)
    both.sum().backward()
    assert (images.grad.abs().sum(dim=(1, 2, 3)) > 0).all()


@pytest.mark.parametrize(("yaw", "pitch", "name"), [(MOST_YAW + 1, 0.0, "yaw"), (0.0, -MOST_PITCH - 1, "pitch")])
def test_too_far_is_refused(yaw, pitch, name):
    with pytest.raises(ValueError, match=f"{name} must hold 1 angles of at most"):
        turn(dots(POINTS), angles(yaw), angles(pitch))


def test_a_share_of_a_batch_is_turned_at_random():
    images = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    points = torch.from_numpy(template(16)).float().expand(64, -1, -1)

    def draw(share, seed=1):
        return random_turn(images, points, torch.Generator().manual_seed(seed), share)

    changed = (draw(0.5) != images).flatten(1).any(dim=1).float().mean()
    assert 0.3 < changed < 0.7
    assert torch.equal(draw(0.0), images)
    assert torch.equal(draw(0.5), draw(0.5)) and not torch.equal(draw(0.5), draw(0.5, seed=2))


def test_a_face_turns_about_its_own_landmarks():
    image = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    here, there = (turn(image, angles(15.0), angles(0.0), points) for points in (None, POINTS[None].float() + 4))
    assert (here - there).abs().mean() > 0.01


def test_landmarks_are_brought_to_the_size_that_is_trained(monkeypatch):
    seen = []
    monkeypatch.setattr(batches, "random_turn", lambda images, points, *_: seen.append(points) or images)
    points = torch.from_numpy(template(128)).float().expand(2, -1, -1)
    faces = StoredFaces("f", torch.zeros(2, 3, 128, 128, dtype=torch.uint8), ["a", "b"], points)
    batches.draw_portraits(faces, torch.arange(2), 32, torch.Generator().manual_seed(0), 1.0)
    torch.testing.assert_close(seen[0], torch.from_numpy(template(32)).float().expand(2, -1, -1))
