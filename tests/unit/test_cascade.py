"""The offline detector: faces where faces are, their points, and no face elsewhere."""

import numpy as np
import pytest
import skimage.data
from PIL import Image

from bfr_lite import cli
from bfr_lite.astronaut import LANDMARKS
from bfr_lite.cascade import CascadeDetector
from bfr_lite.faces import FaceDetector
from bfr_lite.photos import available_detector, find_faces


@pytest.fixture(scope="module")
def detector():
    return CascadeDetector()


def misfit(face, landmarks) -> float:
    """Mean distance of the five points, in distances of the eyes."""
    eyes = np.linalg.norm(landmarks[1] - landmarks[0])
    return np.linalg.norm(face.landmarks - landmarks, axis=1).mean() / eyes


def test_finds_the_astronaut_once(detector):
    (face,) = detector.detect(skimage.data.astronaut())
    assert misfit(face, LANDMARKS) < 0.1


def test_finds_faces_of_two_sizes_the_largest_first(detector):
    canvas = np.full((420, 900, 3), 128, np.uint8)
    face = skimage.data.astronaut()[:300, 80:380]
    small = np.asarray(Image.fromarray(face).resize((180, 180), Image.Resampling.LANCZOS))
    canvas[40:220, 40:220], canvas[60:360, 500:800] = small, face
    found = detector.detect(canvas)
    assert len(found) == 2
    for one, zoom, corner in ((found[0], 1.0, (500, 60)), (found[1], 0.6, (40, 40))):
        assert misfit(one, (LANDMARKS - (80, 0)) * zoom + corner) < 0.12


@pytest.mark.parametrize("name", ["coins", "brick", "chelsea"])
def test_finds_no_face_where_there_is_none(detector, name):
    assert detector.detect(getattr(skimage.data, name)()) == []


def test_odd_pictures_are_taken(detector):
    assert detector.detect(np.zeros((1, 5000, 3), np.uint8)) == []
    assert detector.detect(np.zeros((20, 20), np.uint8)) == []


def test_points_are_near_yunets_on_portraits(detector, congress_root):
    yunet, paths = FaceDetector(), sorted((congress_root / "faces" / "congress").glob("*.jpg"))[::40]
    apart = []
    for path in paths:
        picture = np.asarray(Image.open(path).convert("RGB"))
        found = detector.detect(picture)
        assert len(found) <= 1, path
        apart += [misfit(face, yunet.detect(picture)[0].landmarks) for face in found]
    assert len(apart) > 0.8 * len(paths)
    assert np.median(apart) < 0.06 and max(apart) < 0.15


def test_stands_in_where_yunet_is_missing(no_yunet):
    detector, remark = available_detector()
    assert isinstance(detector, CascadeDetector)
    assert "frontal faces only" in remark and "three ways to get it" in remark
    (face,) = find_faces(skimage.data.astronaut(), detector)
    assert face.left_out == "" and abs(face.yaw) < 20


def test_a_photo_is_restored_without_yunet(no_yunet, tmp_path, capsys):
    photo = skimage.data.astronaut()
    Image.fromarray(photo).save(tmp_path / "photo.png")
    assert cli.main(["restore", str(tmp_path / "photo.png"), "-o", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert "frontal faces only" in said.err
    assert "1 face restored, yaw/pitch " in said.out
    changed = (np.asarray(Image.open(tmp_path / "out" / "photo.png")) != photo).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert changed.mean() > 0.01
    assert rows.max() < 256 and columns.min() > 128 and columns.max() < 320
