"""Restore the faces in a photo: find them, align them, restore them, put them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from bfr_lite.alignment import (
    FaceError,
    alignment_matrix,
    as_rgb,
    estimate_pitch,
    estimate_yaw,
    template,
    transform,
    warp,
)
from bfr_lite.cascade import LIMITS, CascadeDetector
from bfr_lite.download import MissingFileError
from bfr_lite.faces import Face, FaceDetector
from bfr_lite.landmarker import Landmarker
from bfr_lite.paste import enlarge, face_mask, match_colours, paste
from bfr_lite.restorer import Restorer

SCALES = (1, 2, 4)
LARGEST_BOX = 3  # sides of the photo, of a box that somebody draws; a face that only looks in is still in it
LEAST_EYES = 6.0  # pixels between the eyes; with fewer, any face is as right as another
MOST_YAW = 65.0  # degrees; beyond, one eye is hidden and no frontal template fits
MOST_PITCH = 45.0  # likewise: from far below or above, nose and mouth hide each other
SETTLED_YAW = 35.0  # degrees up to which `Landmarker` knows faces
MISLED_YAW = 20.0  # what it sees within this, though YuNet sees more than that, is a damaged face and not a turned one
MOST_MISFIT = 0.07  # mean distance of aligned landmarks from the template, in crops; of damaged faces at most 0.05


@dataclass(frozen=True)
class FoundFace:
    """A face of a photo, and whether it can be restored.

    face: in pixels of the photo. yaw, pitch: in degrees, estimated. left_out: why it is not restored, "" when it is.
    """

    face: Face
    yaw: float
    pitch: float
    left_out: str

    def matrix(self, size: int) -> np.ndarray:
        """Similarity (2, 3) from the photo to an aligned face of `size` px, turned as this one is."""
        return alignment_matrix(self.face.landmarks, size, self.yaw)

    def shrunk(self, size: int) -> float:
        """How many times it is shrunk to be restored at `size` px; less than 1 where it is enlarged."""
        return float(np.linalg.det(self.matrix(size)[:, :2]) ** -0.5)


def available_detector() -> tuple[FaceDetector | CascadeDetector, str]:
    """YuNet, and no remark; or, where it is not here and cannot be fetched, the cascade, and a remark on its limits."""
    try:
        return FaceDetector(), ""
    except MissingFileError as error:
        return CascadeDetector(), f"{LIMITS}. It stands in, for there is no YuNet: {error}"


def find_faces(photo: np.ndarray, detector: FaceDetector | CascadeDetector) -> tuple[FoundFace, ...]:
    """Faces in `photo` (H, W, 3) uint8 RGB, the largest first, each with why it cannot be restored, if so."""
    photo = as_rgb(photo)
    faces = [judge(face) for face in detector.detect(photo)]
    # the cascade's points come from `Landmarker` already
    return tuple(faces if isinstance(detector, CascadeDetector) else [_settled(face, photo) for face in faces])


def _settled(found: FoundFace, photo: np.ndarray) -> FoundFace:
    """The same with better points, unless it is left out, or turned farther than the landmark network knows."""
    if found.left_out:
        return found
    settled = judge(replace(found.face, landmarks=Landmarker().settle(photo, found.face.landmarks)))
    known = abs(found.yaw) <= SETTLED_YAW or abs(settled.yaw) <= MISLED_YAW
    return settled if known else found


def face_in_box(photo: np.ndarray, box: Sequence[float]) -> FoundFace:
    """The face in a `box` (left, top, width, height in pixels, chin to forehead) that somebody drew in `photo`.

    For faces that no detector finds. The five points come from `LandmarkNet`, whatever the box holds. Raises FaceError
    when the box lies outside the photo or is far larger.
    """
    left, top, width, height = box
    shape = as_rgb(photo).shape
    if min(width, height) <= 0 or left >= shape[1] or top >= shape[0] or left + width <= 0 or top + height <= 0:
        raise FaceError(f"the box {tuple(box)} holds nothing of a photo of {shape[1]}x{shape[0]} pixels")
    if max(width, height) > LARGEST_BOX * max(shape[:2]):
        raise FaceError(f"the box {tuple(box)} is far larger than a photo of {shape[1]}x{shape[0]} pixels")
    return judge(Landmarker().face_in_box(as_rgb(photo), np.array(box, dtype=np.float64)))


def cut_out(photo: np.ndarray, faces: Sequence[FoundFace], size: int) -> Tensor:
    """The `faces` that can be restored, aligned: (N, 3, size, size) in [0, 1], of `photo` (H, W, 3) uint8 RGB."""
    crops = [warp(photo, one.matrix(size), size) for one in faces if not one.left_out]
    return torch.stack(crops) if crops else torch.zeros(0, 3, size, size)


def put_back(
    photo: np.ndarray, faces: Sequence[FoundFace], crops: Tensor, restored: Tensor, scale: int = 1
) -> np.ndarray:
    """Paste what was made of `crops`, those of `cut_out`, into the photo: (scale H, scale W, 3) uint8.

    Outside the faces' masks the result is the photo, bit for bit at scale 1, enlarged by Lanczos at 2 and 4. Raises
    ValueError for another scale.
    """
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(map(str, SCALES))}, got {scale}")
    canvas = enlarge(as_rgb(photo), scale).copy()
    chosen = [one for one in faces if not one.left_out]
    for one, crop, face in zip(chosen, crops, restored, strict=True):
        size = face.shape[-1]
        paste(canvas, match_colours(face, crop), face_mask(size, one.yaw), one.matrix(size), scale)
    return canvas


def restore_photo(
    photo: np.ndarray, faces: Sequence[FoundFace], restorer: Restorer, fidelity: float = 0.5, scale: int = 1
) -> np.ndarray:
    """Restore `faces`, found in `photo` (H, W, 3) uint8 RGB, and `put_back`: (scale H, scale W, 3) uint8."""
    crops = cut_out(photo, faces, restorer.preset.size)
    restored = restorer.restore(crops, fidelity) if len(crops) else crops
    return put_back(photo, faces, crops, restored, scale)


def draw_faces(photo: np.ndarray, faces: Sequence[FoundFace]) -> np.ndarray:
    """A copy of `photo` (H, W, 3) uint8 RGB with a numbered box and five points on each face, orange if left out."""
    drawn = as_rgb(photo).copy()
    line = max(1, round(min(drawn.shape[:2]) / 250))
    for number, one in enumerate(faces, start=1):
        colour = (230, 159, 0) if one.left_out else (0, 220, 80)
        left, top, width, height = (round(value) for value in one.face.box.tolist())
        cv2.rectangle(drawn, (left, top), (left + width, top + height), colour, line)
        for x, y in one.face.landmarks.round().astype(int).tolist():
            cv2.circle(drawn, (x, y), line + 1, colour, -1)
        cv2.putText(drawn, str(number), (left, top - 2 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.35 * line, colour, line)
    return drawn


def judge(face: Face) -> FoundFace:
    """A detected face with its angles, and whether it can be restored."""
    yaw, pitch = (float(estimate(face.landmarks)) for estimate in (estimate_yaw, estimate_pitch))
    return FoundFace(face, yaw, pitch, _objection(face, yaw, pitch))


def _objection(face: Face, yaw: float, pitch: float) -> str:
    eyes = float(np.linalg.norm(face.landmarks[1] - face.landmarks[0]))
    if abs(yaw) > MOST_YAW:
        return f"turned by {abs(yaw):.0f} degrees, more than {MOST_YAW:.0f}"
    if abs(pitch) > MOST_PITCH:
        return f"looks {'up' if pitch > 0 else 'down'} by {abs(pitch):.0f} degrees, more than {MOST_PITCH:.0f}"
    if eyes < LEAST_EYES * np.cos(np.radians(yaw)):
        return f"too small: {eyes:.0f} pixels between the eyes, at least {LEAST_EYES:.0f} are needed"
    aligned = transform(face.landmarks, alignment_matrix(face.landmarks, 1, yaw))
    if np.linalg.norm(aligned - template(1, yaw), axis=1).mean() > MOST_MISFIT:
        return "its eyes, nose and mouth do not lie as in a face"
    return ""
