"""The photo widget: upload, pick, turn, adapt, make a file; and what it says when there is nothing to restore."""

import base64
import io
from datetime import UTC, datetime
from html import escape

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageCms

from bfr_lite.cascade import LIMITS, CascadeDetector
from bfr_lite.photos import restore_photo
from bfr_lite.widgets.photo import STEPS, photo_restorer

pytestmark = pytest.mark.usefixtures("callbacks_raise")

ASTRONAUT = skimage.data.astronaut()[:256, 96:352]
PAIR = np.hstack([ASTRONAUT, ASTRONAUT[:, ::-1]])


@pytest.fixture
def widget(restorer, no_yunet):
    return photo_restorer(restorer, PAIR)


def test_yunet_finds_the_pair_too(restorer, congress_root):
    widget = photo_restorer(restorer, PAIR)
    assert not isinstance(widget._detector, CascadeDetector) and widget.remark.value == ""
    assert len(widget.faces) == 2 and not any(one.left_out for one in widget.faces)


def png(pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def give(widget, content: bytes) -> None:
    """What the browser does when a file was chosen."""
    about = {"name": "a.png", "type": "image/png", "size": len(content), "last_modified": datetime.now(UTC)}
    widget.upload.value = ({**about, "content": content},)


def test_both_faces_of_a_pair_are_offered_and_drawn(widget):
    assert len(widget.face.options) == 2 and len(widget.faces) == 2
    shown = np.asarray(Image.open(io.BytesIO(widget.overview.value))).astype(int)
    assert shown.shape == (256, 512, 3) and (np.abs(shown - PAIR).max(axis=-1) > 60).any()


@pytest.mark.parametrize(("control", "value"), [("face", 1), ("fidelity", 1.0), ("wipe", 0.1)])
def test_every_control_changes_the_picture(widget, control, value):
    before = widget.picture.value
    getattr(widget, control).value = value
    assert widget.picture.value != before


def test_the_file_is_what_restore_photo_makes(widget, restorer):
    widget.fidelity.value, widget.scale.value = 0.7, 2
    widget.make.click()
    expected = restore_photo(PAIR, widget.faces, restorer, 0.7, 2)
    assert np.abs(widget.result.astype(int) - expected).max() <= 1
    data = widget.download.value.split("base64,")[1].split('"')[0]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), widget.result)
    assert 'download="restored.png"' in widget.download.value and "1024x512" in widget.download.value


def test_a_link_to_what_is_no_longer_shown_goes_away(widget):
    widget.make.click()
    widget.fidelity.value = 0.2
    assert widget.download.value == "" and widget.result is None


def test_adapting_fits_the_face_and_says_how_far(widget):
    before = widget.picture.value
    widget.adapt.click()
    assert widget.picture.value != before and widget.progress.value == STEPS
    first, last = (float(word) for word in widget.caption.value.split() if word[:2] == "0.")
    assert last < first
    widget.fidelity.value = 0.9
    widget.fidelity.value = 0.5
    assert widget.picture.value == before, "another fidelity starts anew"


def test_an_uploaded_photo_takes_the_place_of_the_last(widget):
    give(widget, png(ASTRONAUT))
    assert len(widget.face.options) == 1


def test_a_photo_without_a_face_says_so(widget):
    give(widget, png(np.full((200, 300, 3), 90, np.uint8)))
    assert "no face to restore: 0 found" in widget.caption.value and widget.picture.value == b""
    assert widget.picture.layout.display == "none", "browsers draw an empty picture as a broken one"
    widget.make.click()
    widget.adapt.click()
    assert widget.result is None


def test_a_file_that_is_no_picture_says_so_and_keeps_the_last(widget):
    before = widget.picture.value
    give(widget, b"<script>alert(1)</script>")
    assert "cannot read" in widget.caption.value and "<script>" not in widget.caption.value
    assert widget.picture.value == before and len(widget.face.options) == 2


def test_what_stands_in_for_yunet_is_said_in_one_sentence(restorer, monkeypatch):
    monkeypatch.setattr("bfr_lite.widgets.photo.available_detector", lambda: (CascadeDetector(), "a long story"))
    assert photo_restorer(restorer, PAIR).remark.value == f"No YuNet here: {escape(LIMITS)}."


def test_the_file_keeps_transparency_and_colour_profile(widget):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture, stream = Image.fromarray(PAIR), io.BytesIO()
    picture.putalpha(100)
    picture.save(stream, "PNG", icc_profile=profile)
    give(widget, stream.getvalue())
    widget.make.click()
    data = widget.download.value.split("base64,")[1].split('"')[0]
    made = Image.open(io.BytesIO(base64.b64decode(data)))
    assert made.mode == "RGBA" and made.info["icc_profile"] == profile and set(np.asarray(made)[..., 3].flat) == {100}
