"""Real portraits as published, damaged whole: faces nearer to the truth, and nothing else of a photo changed."""

import cv2
import numpy as np
import pytest
import torch

from bfr_lite import Degradation, Restorer
from bfr_lite.alignment import alignment_matrix
from bfr_lite.congress import portraits
from bfr_lite.degradation import DegradationRanges
from bfr_lite.degradation_params import NAMED_RANGES
from bfr_lite.faces import FaceDetector
from bfr_lite.images import load_image, tensor_to_uint8
from bfr_lite.paste import face_mask
from bfr_lite.photos import find_faces, restore_photo

COUNT = 16
GFPGAN = NAMED_RANGES["gfpgan"]
# Blur is left out: its widths are meant for square crops, and shrinking blurs enough.
WORN = Degradation(DegradationRanges(down=(4, 8), noise=GFPGAN.noise, jpeg=GFPGAN.jpeg), None)


@pytest.fixture(scope="module")
def restored(congress_root):
    """For each portrait: clean, worn and restored (H, W, 3), and the face found in the worn one."""
    detector, restorer, found = FaceDetector(), Restorer.from_pretrained("lite"), []
    for number, one in enumerate(portraits("test")[:COUNT]):
        clean = load_image(congress_root / "faces" / "congress" / one.file)[None]
        worn = WORN.apply(clean, WORN.sample(1, torch.Generator().manual_seed(number)))
        photo = tensor_to_uint8(worn[0])
        faces = find_faces(photo, detector)
        found.append((tensor_to_uint8(clean[0]), photo, restore_photo(photo, faces, restorer, fidelity=1.0), faces))
    return found


def test_outside_the_masks_every_bit_is_the_inputs(restored):
    changed_at_all = 0
    for _, photo, result, faces in restored:
        reach = np.zeros(photo.shape[:2], bool)
        for one in faces:
            if not one.left_out:
                flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
                mask = cv2.warpAffine(face_mask(128, one.yaw), one.matrix(128), photo.shape[1::-1], flags=flags)
                reach |= cv2.dilate(mask, np.ones((3, 3))) > 0
        assert np.array_equal(photo[~reach], result[~reach]) and (~reach).mean() > 0.3
        changed_at_all += (photo != result).any()
    assert changed_at_all >= COUNT - 1


def test_the_detector_sees_the_landmarks_at_least_40_percent_nearer_to_the_truth(restored):
    """YuNet's points in the clean photo, the worn one and the result, in pixels of an aligned face of 512."""
    detector = FaceDetector()
    distances = []
    for clean, photo, result, _ in restored:
        seen = [detector.detect(picture)[:1] for picture in (clean, photo, result)]
        if all(seen):
            truth, *others = (faces[0].landmarks for faces in seen)
            scale = np.linalg.norm(alignment_matrix(truth, 512)[:, 0])
            distances.append([scale * np.linalg.norm(points - truth, axis=1).mean() for points in others])
    before, after = np.mean(distances, axis=0)
    assert len(distances) >= COUNT - 2
    assert after < 0.6 * before, f"px of 512: {before:.2f} in the input, {after:.2f} in the result"
