"""Faces are found, brought into the FFHQ position, and their pose is read off their landmarks."""

import pickle
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from bfr_lite.alignment import (
    FACE_HEIGHT,
    NOSE_DEPTH,
    NOSE_LEVEL,
    FaceError,
    align,
    alignment_matrix,
    estimate_pitch,
    estimate_yaw,
    template,
    transform,
    warp,
)
from bfr_lite.astronaut import LANDMARKS
from bfr_lite.congress import portraits
from bfr_lite.degradation import Degradation
from bfr_lite.download import MissingFileError
from bfr_lite.faces import Face, FaceDetector
from bfr_lite.images import load_image, tensor_to_uint8
from bfr_lite.paste import face_mask
from bfr_lite.photos import find_faces, judge

MIRRORED = [1, 0, 2, 4, 3]
HEAD = np.array(
    [
        [-0.5, 0, 0],
        [0.5, 0, 0],
        [0, NOSE_LEVEL * FACE_HEIGHT, -NOSE_DEPTH],
        [-0.4, FACE_HEIGHT, 0],
        [0.4, FACE_HEIGHT, 0],
    ]
)  # x to the right, y down, z away from the camera


@pytest.fixture(scope="module")
def detector(congress_root):
    return FaceDetector(congress_root / "models" / "face_detection_yunet_2026may.onnx")


def picture_of(root, portrait):
    return tensor_to_uint8(load_image(root / "faces" / "congress" / portrait.file))


def head(yaw=0.0, pitch=0.0, roll=0.0, size=60.0):
    """Landmarks (5, 2) of the mean head, turned by angles in degrees and seen from afar."""
    y, p, r = np.radians([yaw, pitch, roll])
    turn_yaw = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    turn_pitch = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    turn_roll = np.array([[np.cos(r), -np.sin(r)], [np.sin(r), np.cos(r)]])
    return size * (HEAD @ (turn_yaw @ turn_pitch).T)[:, :2] @ turn_roll.T + 100


@pytest.mark.parametrize("roll", [-25, 0, 40])
@pytest.mark.parametrize("yaw", [-60, -20, 0, 5, 45])
def test_yaw_of_the_mean_head_is_exact(yaw, roll):
    assert estimate_yaw(head(yaw=yaw, roll=roll)) == pytest.approx(yaw, abs=1e-6)


@pytest.mark.parametrize("pitch", [-30, -5, 0, 20])
def test_pitch_of_the_mean_head_is_exact(pitch):
    assert estimate_pitch(head(pitch=pitch, roll=10)) == pytest.approx(pitch, abs=1e-6)


def test_a_face_turned_to_the_right_has_its_nose_on_the_right_and_positive_yaw():
    points = head(yaw=30)
    assert points[2, 0] > points[:2, 0].mean()
    assert estimate_yaw(points) > 0


def test_a_face_that_looks_up_has_its_nose_higher_and_positive_pitch():
    assert head(pitch=20)[2, 1] < head()[2, 1]
    assert estimate_pitch(head(pitch=20)) > 0


def test_pose_takes_many_faces_at_once():
    points = np.stack([head(yaw=10), head(yaw=-10)])
    assert estimate_yaw(points) == pytest.approx([10, -10])


def test_alignment_undoes_any_similarity():
    angle, scale = np.radians(37), 3.1
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = template(128) @ linear.T + (400, -30)
    assert transform(points, alignment_matrix(points, 128)) == pytest.approx(template(128))


def test_the_template_is_ffhqs_and_scales_with_the_picture():
    assert template(512)[0] == pytest.approx([192.98138, 239.94708])
    # The same place in the picture: pixel edges scale, pixel centres lie half a pixel inside.
    assert (template(128) + 0.5) * 4 == pytest.approx(template(512) + 0.5)


def test_warp_by_whole_pixels_copies():
    image = np.random.default_rng(0).integers(0, 256, (80, 90, 3), np.uint8)
    shift = np.array([[1.0, 0, -10], [0, 1, -5]])
    copied = tensor_to_uint8(warp(image, shift, 64))
    assert np.array_equal(copied, image[5:69, 10:74])


@pytest.mark.parametrize("factor", [2, 4])
def test_shrinking_averages_areas_and_does_not_alias(factor):
    image = np.zeros((128, 128, 3), np.uint8)
    image[::2, ::2] = image[1::2, 1::2] = 255  # a checkerboard of single pixels
    matrix = np.array([[1 / factor, 0, 0.5 / factor - 0.5], [0, 1 / factor, 0.5 / factor - 0.5]])
    assert warp(image, matrix, 128 // factor) == pytest.approx(0.5, abs=0.01)


def test_shrinking_does_not_shift():
    ramp = np.broadcast_to(np.arange(128, dtype=np.uint8)[None, :, None], (128, 128, 3))
    matrix = np.array([[0.3, 0, 0.15 - 0.5], [0, 0.3, 0.15 - 0.5]])
    expected = (np.arange(38) + 0.5) / 0.3 - 0.5
    assert 255 * warp(ramp, matrix, 38)[0, 19, 2:-2].numpy() == pytest.approx(expected[2:-2], abs=0.5)


def test_the_frame_is_kept_and_what_is_beyond_it_blurred():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    out = warp(image, np.array([[1.0, 0, 32], [0, 1, 0]]), 64)
    assert np.array_equal(tensor_to_uint8(out)[:, 32:], image[:, :32])
    assert out[:, :, :20].std() < 0.25 * out[:, :, 32:].std()
    assert out[:, :, :20].mean() == pytest.approx(0.5, abs=0.05)


def test_align_gives_a_picture_in_range():
    face = align(skimage.data.astronaut(), head(size=40) + np.array([120, 10]), 64)
    assert face.shape == (3, 64, 64)
    assert 0 <= face.min() < face.max() <= 1


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8), "face.jpg"]
)
def test_what_is_no_picture_is_refused(image):
    with pytest.raises(FaceError, match="expected"):
        warp(image, np.eye(2, 3), 32)


@pytest.mark.parametrize(
    ("points", "message"),
    [(np.ones((5, 2)), "coincide"), (np.ones((68, 2)), "five"), (np.full((5, 2), np.nan), "finite")],
)
def test_landmarks_that_align_nothing_are_refused(points, message):
    with pytest.raises(FaceError, match=message):
        alignment_matrix(points, 128)


def test_the_detector_finds_the_astronaut(detector):
    (face,) = detector.detect(skimage.data.astronaut())
    left, top, width, height = face.box
    assert left < 220 < left + width and top < 120 < top + height
    assert face.score > 0.9
    eye, other_eye, nose, mouth, other_mouth = face.landmarks
    assert eye[0] < nose[0] < other_eye[0] and mouth[0] < other_mouth[0]
    assert eye[1] < nose[1] < mouth[1]


@pytest.mark.parametrize(("zoom", "tolerance"), [(0.15, 6), (0.5, 3), (6, 3)])
def test_faces_of_any_size_are_found_at_the_same_place(detector, congress_root, zoom, tolerance):
    picture = picture_of(congress_root, portraits("test")[0])
    here = detector.detect(picture)[0].landmarks
    size = np.round(np.array(picture.shape[1::-1]) * zoom).astype(int)
    zoomed = cv2.resize(picture, size.tolist(), interpolation=cv2.INTER_AREA)
    there = (detector.detect(zoomed)[0].landmarks + 0.5) / (size / picture.shape[1::-1]) - 0.5
    assert np.abs(here - there).max() < tolerance  # of 57 px between the eyes


def test_every_face_of_a_crowd_is_found_once(detector, congress_root):
    chosen = portraits("test")[:6]
    crowd = np.concatenate([picture_of(congress_root, one)[:260, :200] for one in chosen], axis=1)
    faces = detector.detect(crowd)
    assert sorted(int(face.landmarks[2, 0] // 200) for face in faces) == list(range(6))
    areas = [face.box[2] * face.box[3] for face in faces]
    assert areas == sorted(areas, reverse=True)


def test_small_faces_of_a_large_photo_are_found_wherever_its_windows_meet(detector):
    """Each once: no window cuts a face that no other shows whole."""
    wall, side = np.full((2400, 3200, 3), 128, np.uint8), 64
    face = cv2.resize(skimage.data.astronaut()[:256, 100:356], (side, side), interpolation=cv2.INTER_AREA)
    corners = [(x, y) for y in (60, 1176, 2280) for x in (60, 1258, 1435, 2000, 3080)]
    for x, y in corners:
        wall[y : y + side, x : x + side] = face
    noses = np.array([one.landmarks[2] for one in detector.detect(wall)])
    apart = np.abs(noses[:, None] - (np.array(corners) + side / 2)).max(axis=2) < side / 2
    assert len(noses) == len(corners) and (apart.sum(axis=0) == 1).all()


def test_a_face_lost_in_damage_is_found_in_a_small_view(detector, congress_root, monkeypatch):
    portrait = portraits("test")[33]
    photo = load_image(congress_root / "faces" / "congress" / portrait.file)[None]
    params = Degradation.named("gfpgan", 225).sample(1, torch.Generator().manual_seed(33))
    worn = tensor_to_uint8(Degradation.super_resolution(2).apply(photo, params)[0])
    (face,) = detector.detect(worn)
    eyes = np.linalg.norm(portrait.landmarks[1] - portrait.landmarks[0])
    assert np.linalg.norm(face.landmarks - portrait.landmarks, axis=1).mean() < 0.2 * eyes
    monkeypatch.setattr("bfr_lite.faces.SMALL_SIDES", (4,))
    assert detector.detect(worn) == [], "it is the small views that show it"


def test_odd_pictures_are_taken(detector, congress_root):
    picture = picture_of(congress_root, portraits("test")[0])
    assert len(detector.detect(picture[..., 0])) == 1
    assert len(detector.detect(picture[:, ::-1])) == 1
    for shape in [(1, 1, 3), (300, 2, 3), (500, 700)]:
        assert detector.detect(np.zeros(shape, np.uint8)) == []
    assert detector.detect(np.random.default_rng(0).integers(0, 256, (201, 333, 3), np.uint8)) == []


def test_the_shipped_landmarks_are_the_detectors(detector, congress_root):
    script = runpy.run_path(str(Path(__file__).parents[2] / "data" / "congress_landmarks.py"))
    for portrait in portraits("all")[::80]:
        found = script["measure_landmarks"](detector, picture_of(congress_root, portrait))
        assert np.abs(found - portrait.landmarks).max() < 1.5


def test_aligned_faces_have_their_landmarks_near_the_template(detector, congress_root):
    errors = []
    for portrait in portraits("test")[::6]:
        face = align(picture_of(congress_root, portrait), portrait.landmarks, 128)
        found = detector.detect(tensor_to_uint8(face))[0].landmarks
        errors.append(np.hypot(*(found - template(128)).T))
    assert np.mean(errors) < 3  # of 128 px: mostly what makes one face differ from the mean face
    assert np.mean(errors, axis=0).max() < 4


def test_yaw_changes_sign_in_the_mirror(detector, congress_root):
    yaw = {portrait.file: estimate_yaw(portrait.landmarks) for portrait in portraits("all")}
    for file in (min(yaw, key=yaw.get), max(yaw, key=yaw.get)):
        (portrait,) = (one for one in portraits("all") if one.file == file)
        mirrored = detector.detect(picture_of(congress_root, portrait)[:, ::-1])[0].landmarks
        assert abs(yaw[file]) > 15
        assert estimate_yaw(mirrored) == pytest.approx(-yaw[file], abs=6)


def test_a_detector_can_be_sent_to_another_process(detector):
    copy = pickle.loads(pickle.dumps(detector))
    image = skimage.data.astronaut()
    assert np.array_equal(copy.detect(image)[0].landmarks, detector.detect(image)[0].landmarks)


def test_a_wrong_model_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"none\.onnx"):
        FaceDetector(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not a network")
    with pytest.raises(FaceError, match=r"bad\.onnx"):
        FaceDetector(tmp_path / "bad.onnx")


@pytest.mark.parametrize(("angles", "said"), [({"yaw": 70}, "turned by 70"), ({"pitch": -50}, "looks down by 50")])
def test_heads_turned_too_far_are_left_out_and_named(angles, said):
    assert said in judge(Face(np.zeros(4), head(**angles), 0.9)).left_out


def test_a_real_head_turned_aside_keeps_its_place_and_the_rest_of_its_photo(detector, congress_root):
    """The portrait that looks aside farthest, as published, and its mirror image: the template and mask of its yaw."""
    aside = min(portraits("all"), key=lambda one: estimate_yaw(one.landmarks))
    photo = picture_of(congress_root, aside)
    for seen, yaw in ((photo, -25), (np.ascontiguousarray(photo[:, ::-1]), 25)):
        (found,) = find_faces(seen, detector)
        assert found.left_out == "" and found.yaw == pytest.approx(yaw, abs=6)
        at, frontal = (
            transform(found.face.landmarks, alignment_matrix(found.face.landmarks, 128, angle))
            for angle in (found.yaw, 0.0)
        )
        misfit = [np.linalg.norm(at - template(128, found.yaw), axis=1).mean()]
        misfit.append(np.linalg.norm(frontal - template(128), axis=1).mean())
        assert misfit[0] < 0.6 * misfit[1], "the frontal template fits a turned head worse"
        mask = face_mask(128, found.yaw)
        near, far = (mask[:, :64], mask[:, 64:]) if yaw > 0 else (mask[:, 64:], mask[:, :64])
        assert near.sum() > 1.1 * far.sum()


class Says:
    """A detector that finds one face, by the points it was told."""

    def __init__(self, points):
        self.face = Face(np.array([170.0, 60, 110, 110]), points, 0.9)

    def detect(self, image):
        return [self.face]


def test_a_frontal_face_whose_nose_was_found_on_its_cheek_is_not_taken_for_a_side_face():
    points = LANDMARKS + np.outer([0, 0, 1, 0, 0], [22.0, 0])
    assert judge(Says(points).face).yaw > 40
    (found,) = find_faces(skimage.data.astronaut(), Says(points))
    assert abs(found.yaw) < 10
    assert np.linalg.norm(found.face.landmarks - LANDMARKS, axis=1).mean() < 4


def test_points_on_damaged_photos_are_found_again(detector, congress_root):
    """YuNet has not seen damage: by its points, faces on photos shrunk to an eighth would be aligned far off."""
    people, folder = portraits("test")[:12], congress_root / "faces" / "congress"
    eighth, errors = Degradation.super_resolution(8), []
    for one in people:
        photo = load_image(folder / one.file)[None]
        worn = tensor_to_uint8(eighth.apply(photo, eighth.sample(1, torch.Generator().manual_seed(0)))[0])
        before, (after, *_) = detector.detect(worn)[0], find_faces(worn, detector)
        eyes = np.linalg.norm(one.landmarks[1] - one.landmarks[0])
        errors.append(
            [
                np.linalg.norm(face - one.landmarks, axis=1).mean() / eyes
                for face in (before.landmarks, after.face.landmarks)
            ]
        )
    before, after = np.mean(errors, axis=0)
    assert after < 0.75 * before and after < 0.1, f"of the distance of the eyes: {before:.3f}, then {after:.3f}"
