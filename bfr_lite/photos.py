"""Restore the faces in a photo: find them, align them, restore them, put them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bfr_lite.alignment import alignment_matrix, as_rgb, estimate_pitch, estimate_yaw, template, transform, warp
from bfr_lite.cascade import LIMITS, CascadeDetector
from bfr_lite.download import MissingFileError
from bfr_lite.faces import Face, FaceDetector
from bfr_lite.paste import enlarge, face_mask, match_colours, paste
from bfr_lite.restorer import Restorer

SCALES = (1, 2, 4)
LEAST_EYES = 6.0  # pixels between the eyes; with fewer, any face is as right as another
MOST_YAW = 65.0  # degrees; beyond, one eye is hidden and no frontal template fits
MOST_MISFIT = 0.12  # mean distance of the aligned landmarks from the template, as a share of the crop, at yaw 0


@dataclass(frozen=True)
class FoundFace:
    """A face of a photo, and whether it can be restored.

    face: in pixels of the photo. yaw, pitch: in degrees, estimated. left_out: why it is not restored, "" when it is.
    """

    face: Face
    yaw: float
    pitch: float
    left_out: str


def available_detector() -> tuple[FaceDetector | CascadeDetector, str]:
    """YuNet, and no remark; or, where it is not here and cannot be fetched, the cascade, and a remark on its limits."""
    try:
        return FaceDetector(), ""
    except MissingFileError as error:
        return CascadeDetector(), f"{LIMITS}. It stands in, for there is no YuNet: {error}"


def find_faces(photo: np.ndarray, detector: FaceDetector | CascadeDetector) -> tuple[FoundFace, ...]:
    """Faces in `photo` (H, W, 3) uint8 RGB, the largest first, each with why it cannot be restored, if so."""
    return tuple(_judge(face) for face in detector.detect(as_rgb(photo)))


@torch.no_grad()
def restore_photo(
    photo: np.ndarray, faces: Sequence[FoundFace], restorer: Restorer, fidelity: float = 0.5, scale: int = 1
) -> np.ndarray:
    """Restore `faces`, found in `photo` (H, W, 3) uint8 RGB, and paste them back: (scale H, scale W, 3) uint8.

    Outside the faces' masks the result is the photo, bit for bit at scale 1, enlarged by Lanczos at 2 and 4. Raises
    ValueError for another scale.
    """
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(map(str, SCALES))}, got {scale}")
    photo = as_rgb(photo)
    chosen = [one for one in faces if not one.left_out]
    canvas = enlarge(photo, scale).copy()
    if chosen:
        size = restorer.preset.size
        matrices = [alignment_matrix(one.face.landmarks, size) for one in chosen]
        crops = torch.stack([warp(photo, matrix, size) for matrix in matrices])
        restored = restorer.restore(crops, fidelity)
        for one, crop, face, matrix in zip(chosen, crops, restored, matrices, strict=True):
            paste(canvas, match_colours(face, crop), face_mask(size, one.yaw), matrix, scale)
    return canvas


def _judge(face: Face) -> FoundFace:
    yaw, pitch = (float(estimate(face.landmarks)) for estimate in (estimate_yaw, estimate_pitch))
    return FoundFace(face, yaw, pitch, _objection(face, yaw))


def _objection(face: Face, yaw: float) -> str:
    eyes = float(np.linalg.norm(face.landmarks[1] - face.landmarks[0]))
    if abs(yaw) > MOST_YAW:
        return f"turned by {abs(yaw):.0f} degrees, more than {MOST_YAW:.0f}"
    if eyes < LEAST_EYES * np.cos(np.radians(yaw)):
        return f"too small: {eyes:.0f} pixels between the eyes, at least {LEAST_EYES:.0f} are needed"
    aligned = transform(face.landmarks, alignment_matrix(face.landmarks, 1))
    misfit = np.linalg.norm(aligned - template(1), axis=1).mean()
    if misfit > MOST_MISFIT * (1 + abs(yaw) / 45):
        return "its eyes, nose and mouth do not lie as in a face"
    return ""
