"""Directions in W: on a generator whose attributes are known, and on the shipped prior."""

import pytest
import torch
from torch import nn

from bfr_lite import load_generator
from bfr_lite.directions import ATTRIBUTES, find_directions, measure_attributes, regress, sample_attributes
from bfr_lite.landmarks import LandmarkNet

FACE = torch.tensor([[40.0, 50.0], [88.0, 50.0], [64.0, 72.0], [46.0, 94.0], [82.0, 94.0]])


class Puppet(nn.Module):
    """Draws nothing: the first three numbers of w move nose and mouth, the next three are the picture's colour."""

    w_dim = 12

    def sample(self, count, rng, truncation=1.0):
        mixed = torch.randn(self.w_dim, self.w_dim, generator=torch.Generator().manual_seed(5))
        return (torch.randn(count, self.w_dim, generator=rng) @ mixed * 0.3)[:, None].expand(-1, 4, -1)

    def forward(self, ws):
        self.drawn = ws[:, 0]
        colour = 0.5 + 0.02 * self.drawn[:, 3:6, None, None]
        return colour + 0.1 * torch.randn(len(ws), 3, 16, 16, generator=torch.Generator().manual_seed(len(ws)))

    def landmarks(self, images):
        points = FACE.repeat(len(self.drawn), 1, 1)
        points[:, 2] += self.drawn[:, :2]
        points[:, 4, 0] += self.drawn[:, 2]
        return points


def test_attributes_of_known_points():
    moved = FACE.repeat(4, 1, 1)
    moved[1, 2, 0] += 6  # the nose to the right
    moved[2, 2, 1] -= 6  # and up
    moved[3, 4, 0] += 12  # a wider mouth
    measured = measure_attributes(torch.zeros(4, 3, 8, 8), lambda images: moved)
    change = measured[1:] - measured[0]
    assert change[0, 0] > 5 and change[1, 1] > 5
    assert change[2, 2] == pytest.approx(100 * 12 / 48)
    assert measured[0, 0] == pytest.approx(0, abs=1e-4)


def test_each_direction_moves_its_own_attribute_by_one_unit():
    puppet = Puppet()
    directions = regress(*sample_attributes(puppet, puppet.landmarks, count=400))
    assert tuple(directions) == ATTRIBUTES
    ws = puppet.sample(50, torch.Generator().manual_seed(1))
    before = measure_attributes(puppet(ws), puppet.landmarks)
    for index, (name, direction) in enumerate(directions.items()):
        change = (measure_attributes(puppet(ws + direction), puppet.landmarks) - before).mean(dim=0)
        assert change[index] == pytest.approx(1, abs=0.15), name
        others = [value.abs() for other, value in enumerate(change) if other != index]
        assert max(others) < 0.15, name


def test_too_few_faces():
    with pytest.raises(ValueError, match="at least 24 faces are needed, twice the size of w, got 20"):
        regress(torch.zeros(20, 12), torch.zeros(20, 10))


def test_faces_of_the_shipped_prior_turn_as_they_are_told():
    generator, network = load_generator("lite"), LandmarkNet.from_pretrained("lite")
    yaw = find_directions(generator, count=256)["yaw"]
    ws = generator.sample(16, torch.Generator().manual_seed(9), truncation=0.7)
    with torch.no_grad():
        left, right = (measure_attributes(generator(ws + angle * yaw).clamp(0, 1), network) for angle in (-10, 10))
    assert (right - left)[:, 0].mean() > 8, "asked for 20 degrees"
