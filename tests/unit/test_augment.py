"""DiffAugment and mirroring: what changes, by how much, and what must not."""

import math

import pytest
import torch

from bfr_lite.jpeg import rgb_to_ycbcr
from bfr_lite.training import augment
from bfr_lite.training.augment import diff_augment, random_flip, vary

SIZE = 16
STAGES = (augment._colour, augment._translate, augment._cutout)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def faces(count: int = 64, size: int = SIZE) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=rng(99))


@pytest.mark.parametrize("function", [diff_augment, random_flip, vary, *STAGES], ids=lambda function: function.__name__)
class TestEvery:
    def test_keeps_shape_and_type(self, function):
        for shape in ((5, 3, 32, 32), (1, 3, 8, 8)):
            out = function(torch.rand(shape, generator=rng()), rng())
            assert out.shape == shape and out.dtype == torch.float32 and out.isfinite().all()

    def test_leaves_its_input_alone(self, function):
        images = faces()
        before = images.clone()
        function(images, rng())
        assert torch.equal(images, before)

    def test_is_determined_by_the_generator_alone(self, function):
        state = torch.get_rng_state()
        assert torch.equal(function(faces(), rng(1)), function(faces(), rng(1)))
        assert not torch.equal(function(faces(), rng(1)), function(faces(), rng(2)))
        assert torch.equal(state, torch.get_rng_state())

    def test_treats_each_picture_in_its_own_way(self, function):
        """Sixty-four copies of one picture do not stay copies; and one picture does not look at another."""
        copies = faces(1).expand(64, -1, -1, -1)
        assert len(function(copies, rng()).flatten(1).unique(dim=0)) > 1
        images, changed = faces(), faces()
        changed[0] = 0.25
        assert torch.equal(function(images, rng())[1:], function(changed, rng())[1:])

    def test_lets_a_gradient_through_to_every_picture(self, function):
        images = faces().requires_grad_()
        function(images, rng()).square().sum().backward()
        assert images.grad.isfinite().all()
        assert (images.grad.abs().sum(dim=(1, 2, 3)) > 0).all()


def test_gradient_is_that_of_finite_differences():
    images = torch.rand(2, 3, 8, 8, generator=rng(3), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: diff_augment(x, rng(4)), images, fast_mode=True)


def test_the_policy_is_colour_then_translation_then_cutout():
    generator, images = rng(), faces()
    for stage in STAGES:
        images = stage(images, generator)
    assert torch.equal(diff_augment(faces(), rng()), images)


def test_brightness_moves_by_a_quarter_at_most():
    grey = torch.full((500, 3, 4, 4), 0.5)
    moved = augment._colour(grey, rng()).mean(dim=(1, 2, 3)) - 0.5
    assert -0.25 <= moved.min() < -0.23 and 0.23 < moved.max() <= 0.25
    assert abs(moved.mean()) < 0.02


def test_saturation_runs_from_none_to_double():
    """Flat pictures have no contrast to change: what is left is how far the colours lie from their grey."""
    flat = torch.tensor([0.7, 0.5, 0.3])[None, :, None, None].expand(500, 3, 4, 4)
    out = augment._colour(flat, rng())
    spread = (out - out.mean(dim=(1, 2, 3), keepdim=True))[:, 0, 0, 0] / 0.2
    # the contrast of 0.5 to 1.5 multiplies the saturation of 0 to 2
    assert 0 <= spread.min() < 0.05 and 2.5 < spread.max() <= 3
    assert spread.mean().item() == pytest.approx(1, abs=0.1)


def test_contrast_runs_from_half_to_one_and_a_half():
    stripes = torch.tensor([0.3, 0.7]).repeat(2).expand(500, 3, 4, 4)
    out = augment._colour(stripes, rng())
    factor = (out[..., 1] - out[..., 0]).mean(dim=(1, 2)) / 0.4
    assert 0.5 <= factor.min() < 0.53 and 1.47 < factor.max() <= 1.5
    assert factor.mean().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("size", [16, 32, 12])
def test_translation_reaches_an_eighth_of_the_side_both_ways(size):
    """A single bright pixel in the middle shows where each picture went."""
    images = torch.full((400, 3, size, size), 0.5)
    images[:, :, size // 2, size // 2] = 1
    found = (augment._translate(images, rng())[:, 0] == 1).nonzero()
    assert len(found) == 400
    reach = int(size / 8 + 0.5)
    shift = found[:, 1:] - size // 2
    for axis in (0, 1):
        assert set(shift[:, axis].tolist()) == set(range(-reach, reach + 1))
    assert not torch.equal(shift[:, 0], shift[:, 1])


def test_translation_brings_in_grey_and_loses_no_colour():
    out = augment._translate(torch.ones(200, 3, SIZE, SIZE), rng())
    assert set(out.unique().tolist()) == {0.5, 1.0}
    assert torch.equal(out[:, 0], out[:, 1]) and torch.equal(out[:, 0], out[:, 2])
    kept = (out[:, 0] == 1).float().mean(dim=(1, 2))
    assert kept.min() == ((SIZE - 2) / SIZE) ** 2 and kept.max() == 1


def test_cutout_greys_a_square_of_half_the_side():
    gone = augment._cutout(torch.ones(400, 3, SIZE, SIZE), rng()) == 0.5
    assert torch.equal(gone[:, 0], gone[:, 1]) and torch.equal(gone[:, 0], gone[:, 2])
    height, width = gone[:, 0].any(dim=2).sum(dim=1), gone[:, 0].any(dim=1).sum(dim=1)
    assert torch.equal(gone[:, 0].sum(dim=(1, 2)), height * width), "what is gone is a rectangle"
    # centred anywhere: up to half of the square may lie outside
    for side in (height, width):
        assert side.min() == SIZE // 4 and side.max() == SIZE // 2


def test_random_flip_mirrors_half_of_the_pictures_and_changes_nothing_else():
    images = faces(400)
    out = random_flip(images, rng())
    mirrored = (out == images.flip(3)).all(dim=(1, 2, 3))
    assert torch.equal(out[~mirrored], images[~mirrored])
    assert 160 < mirrored.sum() < 240


def test_random_flip_takes_an_empty_batch():
    assert random_flip(torch.zeros(0, 3, 8, 8), rng()).shape == (0, 3, 8, 8)


def test_varied_portraits_are_still_pictures_and_still_alike():
    images = faces(size=32)
    everyone = vary(images, rng())
    assert everyone.min() >= 0 and everyone.max() <= 1
    varied = vary(images, rng(), recoloured=0.0)
    assert varied.min() >= 0 and varied.max() <= 1
    nearest = torch.minimum(
        (varied - images).abs().mean(dim=(1, 2, 3)), (varied - images.flip(3)).abs().mean((1, 2, 3))
    )
    assert 0.005 < nearest.mean() < 0.1


def test_a_quarter_of_varied_portraits_has_any_colours():
    """A flat picture keeps the angle of its colour but for those."""
    orange = torch.tensor([0.7, 0.5, 0.3])[:, None, None].expand(4000, 3, 4, 4)
    colours = rgb_to_ycbcr(vary(orange, rng(), repainted=0.0))[:, 1:, 0, 0]
    before = rgb_to_ycbcr(orange[:1])[0, 1:, 0, 0]
    angles = torch.atan2(colours[:, 1], colours[:, 0]) - torch.atan2(before[1], before[0])
    turned = 1 - angles.cos() > 1e-3
    assert turned.float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert angles[turned].cos().mean().abs() < 0.1 and angles[turned].sin().mean().abs() < 0.1


def test_walls_change_their_colour_and_faces_keep_theirs():
    portraits = torch.tensor([0.4, 0.45, 0.5])[:, None, None].repeat(2000, 1, 32, 32)
    portraits[:, :, 8:, 8:24] = torch.tensor([0.8, 0.6, 0.5])[:, None, None]
    gains = augment._repaint_wall(portraits, rng(), share=1.0) / portraits
    assert (gains[:, :, 9:, 9:23] == 1).all()  # the face, and below it what has its colour
    corner = gains[:, :, 1, 1]
    assert corner.min() == pytest.approx(math.exp(-0.5), abs=0.01)
    assert corner.max() == pytest.approx(math.exp(0.5), abs=0.01)
    for row, column in ((0, 0), (0, 16), (31, 0), (30, 1)):
        torch.testing.assert_close(corner, gains[:, :, row, column])
    assert torch.corrcoef(corner.T).fill_diagonal_(0).abs().max() < 0.1
    grey = portraits.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    assert torch.equal(augment._repaint_wall(grey, rng(), share=1.0), grey)
    repainted = (augment._repaint_wall(portraits, rng(), share=0.25) != portraits).flatten(1).any(dim=1)
    assert repainted.float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_recolouring_leaves_brightness_and_changes_strength_by_up_to_two():
    images = faces(500)
    before, after = rgb_to_ycbcr(images), rgb_to_ycbcr(augment._recolour(images, rng(), share=1.0))
    torch.testing.assert_close(after[:, 0], before[:, 0])
    ratio = after[:, 1:].norm(dim=1).mean(dim=(1, 2)) / before[:, 1:].norm(dim=1).mean(dim=(1, 2))
    assert 0.5 <= ratio.min() < 0.55 and 1.9 < ratio.max() <= 2.0
    assert torch.equal(augment._recolour(images, rng(), share=0.0), images)


def test_chance_is_the_share_of_pictures_that_each_change_meets():
    """A flat grey picture shows brightness and nothing else."""
    grey = torch.full((2000, 3, 4, 4), 0.25)
    assert torch.equal(diff_augment(grey, rng(), p=0.0), grey)
    changed = (diff_augment(grey, rng(), p=0.3)[:, 0].flatten(1) != 0.25).any(dim=1).float().mean()
    assert 0.3 < changed < 1 - 0.7**3 + 0.03  # every colour change is seen, not every shift and hole


def scores(share: float) -> torch.Tensor:
    """A hundred scores of real pictures, of which `share` are positive."""
    return torch.where(torch.arange(100) < 100 * share, 1.0, -1.0)


def test_a_sure_discriminator_sees_more_changes_and_an_unsure_one_fewer():
    adaptive = augment.AdaptiveAugment()
    assert torch.equal(adaptive(faces(), rng()), faces())
    for _ in range(100):
        adaptive.adapt(scores(1.0))
    grown = adaptive.p.item()
    assert 0.05 < grown < 0.1  # 10,000 pictures of the 100,000 that a whole crossing takes
    for _ in range(50):
        adaptive.adapt(scores(0.5))
    assert adaptive.sign_real.abs() < 0.01 and adaptive.p.item() < grown
    for _ in range(2000):
        adaptive.adapt(scores(1.0))
    assert adaptive.p.item() == pytest.approx(adaptive.MOST)
    copied = augment.AdaptiveAugment()
    copied.load_state_dict(adaptive.state_dict())
    assert torch.equal(copied(faces(), rng()), adaptive(faces(), rng()))
    assert not torch.equal(adaptive(faces(), rng()), faces())
