"""The latent explorer, driven as a reader would: move a control, look at the picture."""

import io
import time

import pytest
import torch
from PIL import Image

from bfr_lite.checkpoints import load_generator
from bfr_lite.images import pil_to_tensor
from bfr_lite.presets import preset
from bfr_lite.stylegan2 import Generator
from bfr_lite.widgets.latent import DISPLAY_SIDE, latent_explorer, mix_styles, sample_seed


@pytest.fixture(scope="module")
def generator() -> Generator:
    """Random weights draw pictures far outside [0, 1]; a smaller RGB layer brings them into view."""
    network = Generator(preset("tiny").gan, torch.Generator().manual_seed(0)).eval().requires_grad_(False)
    for block in network.blocks.values():
        block.to_rgb.conv.weight.mul_(0.3)
    return network


def shown(widget) -> torch.Tensor:
    """The three faces on show, (3, 3, DISPLAY_SIDE, DISPLAY_SIDE)."""
    picture = Image.open(io.BytesIO(widget.children[-2].value))
    assert picture.format == "JPEG"
    assert picture.size == (3 * DISPLAY_SIDE, DISPLAY_SIDE)
    return torch.stack(pil_to_tensor(picture).chunk(3, dim=2))


def moved(before: torch.Tensor, after: torch.Tensor) -> list[bool]:
    """Which of the three faces changed by more than JPEG does by itself."""
    return [bool(change > 0.005) for change in (before - after).abs().mean(dim=(1, 2, 3))]


def test_shows_the_faces_it_names(generator):
    faces = shown(latent_explorer(generator))
    codes = torch.cat([sample_seed(generator, seed, 0.7) for seed in (1, 2)])
    drawn = generator(codes).clamp(0, 1).repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    assert (faces[:2] - drawn).abs().mean() < 0.05


@pytest.mark.parametrize(
    ("child", "value", "expected"),
    [
        (0, 5, [True, False, True]),
        (1, 5, [False, True, True]),
        (2, 0.2, [True, True, True]),
        (3, 32, [False, False, True]),
    ],
    ids=["first seed", "second seed", "truncation", "crossover"],
)
def test_control_changes_its_faces_alone(generator, child, value, expected):
    widget = latent_explorer(generator)
    before = shown(widget)
    widget.children[child].value = value
    assert moved(before, shown(widget)) == expected


def test_directions_move_the_mixture_alone(generator):
    step = {name: torch.full((generator.w_dim,), size) for name, size in (("yaw", 0.1), ("smile", -0.1))}
    widget = latent_explorer(generator, step)
    assert [child.description for child in widget.children[4:6]] == ["yaw", "smile"]
    before = shown(widget)
    widget.children[4].value = widget.children[4].max
    assert moved(before, shown(widget)) == [False, False, True]
    assert "yaw +15" in widget.children[-1].value and "smile" not in widget.children[-1].value
    widget.children[4].value = 0
    assert moved(before, shown(widget)) == [False] * 3


def test_value_set_back_gives_the_same_picture(generator):
    widget = latent_explorer(generator)
    before = widget.children[4].value
    for value in (9, 1):
        widget.children[0].value = value
    assert widget.children[4].value == before


def test_truncation_zero_is_one_average_face(generator):
    widget = latent_explorer(generator)
    widget.children[2].value = 0
    faces = shown(widget)
    assert moved(faces, faces[:1].expand_as(faces)) == [False] * 3


@pytest.mark.parametrize(("resolution", "twin"), [(64, 0), (4, 1)], ids=["never: the first", "from 4 px: the second"])
def test_crossover_ends(generator, resolution, twin):
    widget = latent_explorer(generator)
    widget.children[3].value = resolution
    faces = shown(widget)
    assert not any(moved(faces[twin][None], faces[2][None]))


def test_caption_says_what_is_shown(generator):
    widget = latent_explorer(generator)
    widget.children[0].value, widget.children[3].value = 7, 8
    assert "seed 7" in widget.children[5].value
    assert "8 px" in widget.children[5].value


def test_offers_every_resolution_of_the_network(generator):
    options = [value for _, value in latent_explorer(generator).children[3].options]
    assert options == [4, 8, 16, 32, 64]


def test_leaves_global_rng_alone(generator):
    before = torch.get_rng_state()
    latent_explorer(generator).children[0].value = 3
    assert torch.equal(torch.get_rng_state(), before)


def test_answers_quickly():
    widget = latent_explorer(load_generator("lite"))
    best = float("inf")
    for seed in range(10, 15):
        start = time.process_time()
        widget.children[0].value = seed
        best = min(best, time.process_time() - start)
    assert best < 0.4, "200 ms on two cores"  # processor time, which other programs do not lengthen


def test_mix_takes_the_codes_of_whole_resolutions():
    first, second = torch.zeros(1, 8, 1), torch.ones(1, 8, 1)
    taken = {r: int(mix_styles(first, second, r).sum()) for r in (4, 8, 16, 32, 64)}
    assert taken == {4: 8, 8: 7, 16: 5, 32: 3, 64: 0}


@pytest.mark.parametrize("resolution", [2, 12, 128])
def test_mix_refuses_other_resolutions(resolution):
    codes = torch.zeros(1, 8, 4)
    with pytest.raises(ValueError, match=r"one of \[4, 8, 16, 32, 64\]"):
        mix_styles(codes, codes, resolution)


def test_mix_refuses_codes_of_two_networks():
    with pytest.raises(ValueError, match="same shape"):
        mix_styles(torch.zeros(1, 8, 4), torch.zeros(1, 10, 4), 8)
