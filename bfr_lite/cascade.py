"""Find faces without a downloaded detector: scikit-image's LBP cascade for boxes, `LandmarkNet` for the five points.

The cascade (Liao et al., "Learning Multi-scale Block Local Binary Patterns for Face Recognition", 2007) sees upright,
frontal, undamaged faces, and mistakes other things for faces. The landmark network tells those apart: on a face its
heat maps have sharp peaks, on anything else they are smears.
"""

from __future__ import annotations

import cv2
import numpy as np
import skimage.data
import torch
from skimage.feature import Cascade

from bfr_lite.alignment import alignment_matrix, as_rgb, transform, warp
from bfr_lite.faces import Face
from bfr_lite.landmarks import LandmarkNet

LONGEST_SIDE = 800  # of the picture that the cascade sees; it takes about a second
LEAST_WIDTH = 32  # of a face in it
# Where the five points lie in a box of the cascade, on average over forty portraits, in shares of its sides.
POINTS_IN_BOX = np.array([[0.30, 0.37], [0.70, 0.37], [0.50, 0.60], [0.33, 0.78], [0.67, 0.78]])
ROUNDS = 3  # of aligning and looking again; then the points are within a few percent of the eyes' distance of YuNet's
LEAST_PEAK = 0.08  # mean peak of the heat maps; portraits have 0.11 to 0.21, what is no face 0.02 to 0.03
LIMITS = "scikit-image's cascade finds upright, frontal faces only, and is easily lost on damaged ones"


class CascadeDetector:
    """Stands in for `faces.FaceDetector` where YuNet cannot be had; see `LIMITS`."""

    def __init__(self):
        self._cascade = Cascade(skimage.data.lbp_frontal_face_cascade_filename())
        self._landmarks = LandmarkNet.from_pretrained("lite")

    def detect(self, image: np.ndarray) -> list[Face]:
        """Faces in ``image`` (uint8, RGB (H, W, 3) or grey (H, W)), the largest first; maybe none."""
        image = as_rgb(image)
        candidates = [refine(self._landmarks, image, box) for box in self._boxes(image)]
        certain = sorted((face for face in candidates if face.score >= LEAST_PEAK), key=lambda face: -face.score)
        faces: list[Face] = []
        for face in certain:
            if not any(_same(face, other) for other in faces):
                faces.append(face)
        return sorted(faces, key=lambda face: -face.box[2] * face.box[3])

    def _boxes(self, image: np.ndarray) -> list[np.ndarray]:
        """Left, top, width, height of whatever looks like a face, in pixels of `image`."""
        height, width = image.shape[:2]
        zoom = min(1.0, LONGEST_SIDE / max(height, width))
        shape = (max(1, round(width * zoom)), max(1, round(height * zoom)))
        seen = cv2.resize(image, shape, interpolation=cv2.INTER_AREA) if zoom < 1 else image
        if min(seen.shape[:2]) < LEAST_WIDTH:
            return []
        found = self._cascade.detect_multi_scale(
            seen, scale_factor=1.15, step_ratio=1, min_size=(LEAST_WIDTH, LEAST_WIDTH), max_size=seen.shape[:2]
        )
        return [np.array([one["c"], one["r"], one["width"], one["height"]]) / zoom for one in found]


@torch.no_grad()
def refine(landmarks: LandmarkNet, image: np.ndarray, box: np.ndarray) -> Face:
    """The face in ``box`` (4,), its points found again and again in the picture aligned by them; score: the peaks."""
    points, size = box[:2] + POINTS_IN_BOX * box[2:], landmarks.config.size
    for _ in range(ROUNDS):
        matrix = alignment_matrix(points, size)
        aligned = warp(image, matrix, size)[None]
        points = transform(landmarks(aligned)[0].double().numpy(), cv2.invertAffineTransform(matrix))
    peaks = landmarks.heat_maps(aligned)[0].flatten(1).amax(dim=1)
    return Face(box, points, float(peaks.mean()))


def _same(face: Face, other: Face) -> bool:
    """Whether two candidates are one face: their eyes' middles are closer than half the distance of the eyes."""
    middles = [one.landmarks[:2].mean(axis=0) for one in (face, other)]
    apart = np.linalg.norm(other.landmarks[1] - other.landmarks[0])
    return bool(np.linalg.norm(middles[0] - middles[1]) < 0.5 * apart)
