"""The fidelity slider: every control changes the picture as it says, and a turn of the knob costs little."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from bfr_lite.astronaut import astronaut
from bfr_lite.images import ImageError, tensor_to_pil, to_batch
from bfr_lite.widgets.fidelity import SHOWN, fidelity_slider, wipe


@pytest.fixture(scope="module")
def clean():
    """Two faces."""
    return torch.stack([astronaut(32), 1 - astronaut(32).flip(2)])


@pytest.fixture
def slider(restorer, clean):
    return fidelity_slider(restorer, clean * 0.8, clean)


def shown(slider):
    """The picture on the screen, (3, 32, 32), each pixel from the middle of its square."""
    picture = Image.open(io.BytesIO(slider.picture.value))
    assert picture.format == "JPEG" and picture.size == (SHOWN, SHOWN)
    side = SHOWN // 32
    return to_batch(np.asarray(picture)[side // 2 :: side, side // 2 :: side])[0][0]


def looks_like(picture, expected):
    return (picture - expected).abs().mean() < 0.03


@pytest.mark.parametrize("fidelity", [0.0, 0.5, 1.0])
def test_the_knob_restores_at_its_fidelity(slider, restorer, clean, fidelity):
    slider.wipe.value = 0.0
    slider.fidelity.value = fidelity
    expected = restorer.restore(clean[:1] * 0.8, fidelity)[0]
    torch.testing.assert_close(slider.restored, expected, atol=1e-5, rtol=0)
    assert looks_like(shown(slider), expected)


def test_positions_of_the_knob_differ(slider):
    slider.fidelity.value = 0.0
    before, picture = slider.restored, slider.picture.value
    slider.fidelity.value = 1.0
    assert (slider.restored - before).abs().mean() > 1e-3
    assert slider.picture.value != picture


def test_the_wipe_uncovers_the_restored_face(slider, clean):
    slider.wipe.value = 1.0
    assert looks_like(shown(slider), clean[0] * 0.8)
    slider.wipe.value = 0.5
    half = shown(slider)
    assert looks_like(half[..., :15], clean[0, ..., :15] * 0.8)
    assert looks_like(half[..., 18:], slider.restored[..., 18:])
    assert half[..., 16].mean() > 0.9  # the line


def test_the_left_side_can_be_the_clean_face(slider, clean):
    slider.wipe.value = 1.0
    slider.against.value = "clean"
    assert looks_like(shown(slider), clean[0])
    assert slider.caption.value.startswith("left: clean")


def test_another_face_of_the_batch(slider, restorer, clean):
    slider.face.value = 1
    expected = restorer.restore(clean[1:] * 0.8)[0]
    torch.testing.assert_close(slider.restored, expected, atol=1e-5, rtol=0)
    slider.wipe.value = 1.0
    assert looks_like(shown(slider), clean[1] * 0.8)


def test_the_caption_tells_the_distances(slider, clean):
    distance = (slider.restored - clean[0]).abs().mean().item()
    assert f"{distance:.4f} from the clean" in slider.caption.value
    assert "from the input" in slider.caption.value


def test_one_face_without_the_clean_one(restorer):
    slider = fidelity_slider(restorer, tensor_to_pil(astronaut(48)))
    assert slider.children == (slider.fidelity, slider.wipe, slider.picture, slider.caption)
    assert "clean" not in slider.caption.value


def test_every_control_is_shown(slider):
    for control in (slider.fidelity, slider.wipe, slider.face, slider.against, slider.picture, slider.caption):
        assert control in slider.children


def test_only_the_part_that_changes_is_computed(slider, restorer, monkeypatch):
    monkeypatch.setattr(type(restorer.codec), "forward_features", lambda *_: pytest.fail("the codec was run again"))
    slider.fidelity.value = 0.9
    monkeypatch.setattr(
        type(restorer.generator), "forward_features", lambda *_: pytest.fail("the generator was run again")
    )
    slider.wipe.value = 0.1
    slider.against.value = "clean"


def test_pictures_that_do_not_fit_are_refused(restorer, clean):
    with pytest.raises(ImageError, match="got 2 damaged and 1 clean faces"):
        fidelity_slider(restorer, clean, clean[:1])
    with pytest.raises(ImageError, match="divide uint8 values by 255"):
        fidelity_slider(restorer, torch.zeros(3, 32, 32, dtype=torch.uint8))


def test_wipe_leaves_its_pictures_alone():
    left, right = torch.zeros(3, 4, 4), torch.full((3, 4, 4), 0.5)
    joined = wipe(left, right, 0.5)
    assert joined[0, 0].tolist() == [0.0, 0.0, 1.0, 0.5]
    assert wipe(left, right, 0.0).eq(0.5).all() and wipe(left, right, 1.0).eq(0.0).all()
    assert left.eq(0).all() and right.eq(0.5).all()
