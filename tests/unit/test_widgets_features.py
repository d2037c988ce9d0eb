"""The feature explorer, driven as a reader would: choose a stage and a channel, look at the picture."""

import io
import time

import pytest
import torch
from PIL import Image

from bfr_lite import Restorer, preset
from bfr_lite.astronaut import astronaut
from bfr_lite.images import ImageError, pil_to_tensor
from bfr_lite.widgets import feature_explorer
from bfr_lite.widgets.features import SHOWN, overview


@pytest.fixture(scope="module")
def restorer():
    return Restorer(preset("tiny"), generator=torch.Generator().manual_seed(0)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def faces():
    face = astronaut(32)
    return torch.stack([face, face.flip(2)])


def picture(widget: object) -> torch.Tensor:
    return pil_to_tensor(Image.open(io.BytesIO(widget.value)))


def test_shows_the_face_its_map_and_all_channels(restorer, faces):
    widget = feature_explorer(restorer, faces)
    shown = torch.nn.functional.avg_pool2d(picture(widget.picture), SHOWN // 32)
    assert (shown - faces[0]).abs().mean() < 0.02
    assert picture(widget.map).shape == (3, SHOWN, SHOWN)
    assert "encoder.8" in widget.caption.value and "8 × 8" in widget.caption.value


def test_every_stage_with_places_can_be_chosen(restorer, faces):
    widget = feature_explorer(restorer, faces)
    wanted = {name: value for name, value in restorer.features(faces).items() if value.ndim == 4}
    assert set(widget.stage.options) == set(wanted)
    for name, value in wanted.items():
        widget.stage.value = name
        assert widget.channel.max == value.shape[1] - 1
        assert f"{value.shape[1]} maps" in widget.caption.value


def test_channel_changes_the_map_alone(restorer, faces):
    widget = feature_explorer(restorer, faces)
    before = widget.picture.value, widget.map.value, widget.overview.value
    widget.channel.value = 3
    after = widget.picture.value, widget.map.value, widget.overview.value
    assert [a != b for a, b in zip(before, after, strict=True)] == [False, True, False]


def test_a_channel_that_the_next_stage_lacks(restorer, faces):
    widget = feature_explorer(restorer, faces)
    widget.channel.value = widget.channel.max
    widget.stage.value = "trust"
    assert widget.channel.value == 0 and "1 maps" in widget.caption.value


def test_face_changes_all(restorer, faces):
    widget = feature_explorer(restorer, faces)
    before = widget.picture.value, widget.map.value, widget.overview.value
    widget.face.value = 1
    assert all(
        a != b for a, b in zip(before, (widget.picture.value, widget.map.value, widget.overview.value), strict=True)
    )


def test_answers_quickly(restorer):
    widget = feature_explorer(Restorer(preset("lite")), astronaut(128))
    best = float("inf")
    for stage in ("encoder.128", "encoder.4", "decoder.128", "generator.64"):
        start = time.process_time()
        widget.stage.value = stage
        best = min(best, time.process_time() - start)
    assert best < 0.4, "200 ms on two cores"


def test_overview_keeps_the_order_of_channels():
    maps = torch.zeros(5, 8, 8)
    maps[3] = 1
    laid = overview(maps)
    assert laid.shape == (3, 2 * 34, 3 * 34)
    orange = laid[:, 34 + 17, 17]
    assert orange[2] < 0.1 and (laid[:, 17, 17] == 1).all()


def test_what_is_no_picture_is_refused(restorer):
    with pytest.raises(ImageError, match="cannot use a list"):
        feature_explorer(restorer, [])
