"""Pasting back: the right place, no seam, nothing else touched."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bfr_lite.alignment import alignment_matrix, template, warp
from bfr_lite.faces import Face
from bfr_lite.paste import enlarge, face_mask, match_colours, paste
from bfr_lite.photos import FoundFace, judge, restore_photo

SIZE = 64


def landmarks(centre=(100.0, 90.0), width=80.0, turn=0.0):
    """The FFHQ points `width` pixels wide around `centre`, turned by `turn` radians."""
    points = (template(SIZE) - (SIZE - 1) / 2) * width / SIZE
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return points @ rotation.T + centre


def photo(height=180, width=200):
    """A smooth picture: what is warped there and back comes back."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 17 + k) + np.cos(y / 23 - k) for k in range(3)]
    return np.uint8(128 + 60 * np.stack(waves, axis=-1) / 2)


@pytest.mark.parametrize("yaw", [-60, 0, 40])
def test_mask_covers_the_face_and_ends_within_the_crop(yaw):
    mask = face_mask(SIZE, yaw)
    assert mask.min() == 0 and mask.max() == 1
    assert all(not border.any() for border in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
    assert np.abs(np.diff(mask, axis=0)).max() < 0.4 and np.abs(np.diff(mask, axis=1)).max() < 0.4


def test_mask_of_a_frontal_face_holds_its_landmarks():
    mask = face_mask(SIZE)
    assert all(mask[round(y), round(x)] == 1 for x, y in template(SIZE))


def test_mask_follows_a_turned_face():
    columns = np.arange(SIZE)
    centre = [(face_mask(SIZE, yaw).sum(axis=0) * columns).sum() / face_mask(SIZE, yaw).sum() for yaw in (-40, 0, 40)]
    assert centre[0] > centre[1] > centre[2]


@pytest.mark.parametrize("turn", [0.0, 0.5, np.pi])
@pytest.mark.parametrize("scale", [1, 2])
def test_pasting_what_was_cut_out_changes_nothing_to_see(turn, scale):
    original = photo()
    matrix = alignment_matrix(landmarks(turn=turn), SIZE)
    canvas = enlarge(original, scale).copy()
    before = canvas.copy()
    paste(canvas, warp(original, matrix, SIZE), face_mask(SIZE), matrix, scale)
    assert np.abs(canvas.astype(int) - before).max() <= 3


@pytest.mark.parametrize("turn", [0.0, 0.3])
def test_a_face_smaller_than_its_crop_is_shrunk_by_means(turn):
    """Stripes too fine for a face of 16 pixels become their mean; sampled point by point they would stay stripes."""
    canvas = np.full((60, 60, 3), 128, np.uint8)
    stripes = (torch.arange(SIZE) % 2).float().expand(3, SIZE, SIZE)
    paste(canvas, stripes, face_mask(SIZE), alignment_matrix(landmarks((30, 30), 16.0, turn), SIZE))
    assert abs(canvas.astype(int) - 128).max() <= 8


def test_outside_the_mask_every_bit_stays():
    original = photo()
    matrix = alignment_matrix(landmarks(), SIZE)
    canvas = original.copy()
    paste(canvas, torch.zeros(3, SIZE, SIZE), np.ones((SIZE, SIZE), np.float32), matrix)
    changed = (canvas != original).any(axis=-1)
    rows, columns = np.nonzero(changed)
    assert 78 <= np.ptp(rows) + 1 <= 84 and 78 <= np.ptp(columns) + 1 <= 84, "a square of 80 pixels"
    assert changed[90, 100] and not changed[:40].any() and not changed[:, :50].any()


def test_a_face_at_the_border_is_pasted_as_far_as_the_photo_goes():
    original = photo()
    canvas = original.copy()
    paste(canvas, torch.ones(3, SIZE, SIZE), face_mask(SIZE), alignment_matrix(landmarks((5.0, 5.0)), SIZE))
    assert (canvas != original).any()
    outside = original.copy()
    paste(outside, torch.ones(3, SIZE, SIZE), face_mask(SIZE), alignment_matrix(landmarks((900.0, 900.0)), SIZE))
    assert np.array_equal(outside, original)


def test_colours_are_the_photos_and_detail_the_restorers():
    rng = torch.Generator().manual_seed(0)
    damaged = torch.full((3, SIZE, SIZE), 0.4)
    detail = 0.05 * torch.randn(3, SIZE, SIZE, generator=rng)
    tint = torch.tensor([0.1, 0.0, -0.1])[:, None, None]
    matched = match_colours(damaged + tint + detail, damaged)
    torch.testing.assert_close(matched.mean(dim=(1, 2)), damaged.mean(dim=(1, 2)), atol=2e-3, rtol=0)
    assert (matched - damaged - detail).abs().max() < 0.02


class Brighter:
    """Stands in for a restorer."""

    class preset:
        size = SIZE

    def restore(self, crops, fidelity):
        return (crops + 0.2 * torch.rand(1, generator=torch.Generator().manual_seed(0))).clamp(0, 1)


def found(**options):
    return judge(Face(np.array([60.0, 50, 80, 80]), landmarks(**options), 0.9))


def test_faces_that_cannot_be_restored_are_left_alone_and_say_why():
    assert found().left_out == ""
    assert "too small" in found(width=12.0).left_out
    points = landmarks()
    points[2] += (40, 0)  # the nose beside an ear
    assert "turned" in judge(Face(np.zeros(4), points, 0.9)).left_out
    points = landmarks()
    points[3:] -= (0, 45)  # the mouth above the eyes
    assert judge(Face(np.zeros(4), points, 0.9)).left_out
    original = photo()
    left = FoundFace(found().face, 0.0, 0.0, "because")
    assert np.array_equal(restore_photo(original, [left], Brighter()), original)


def test_how_far_a_face_is_shrunk_to_be_restored():
    large = FoundFace(replace(found().face, landmarks=3 * template(128)), 0.0, 0.0, "")
    assert large.shrunk(128) == pytest.approx(3, rel=0.02) and large.shrunk(384) == pytest.approx(1, rel=0.02)


def test_scale_is_one_of_three():
    assert restore_photo(photo(), [found()], Brighter(), scale=2).shape == (360, 400, 3)
    with pytest.raises(ValueError, match="1, 2, 4"):
        restore_photo(photo(), [], Brighter(), scale=3)
