"""Find faces without a downloaded detector: scikit-image's LBP cascade for boxes, `LandmarkNet` for the five points.

The cascade (Liao et al., "Learning Multi-scale Block Local Binary Patterns for Face Recognition", 2007) sees upright,
frontal, undamaged faces, and mistakes other things for faces. The landmark network tells those apart: on a face its
heat maps have sharp peaks, on anything else they are smears.
"""

from __future__ import annotations

import cv2
import numpy as np
import skimage.data
from skimage.feature import Cascade

from bfr_lite.alignment import as_rgb
from bfr_lite.faces import Face
from bfr_lite.landmarker import Landmarker

LONGEST_SIDE = 800  # of the picture that the cascade sees; it takes about a second
LEAST_WIDTH = 32  # of a face in it
# Mean peak of the heat maps: portraits have 0.22 to 0.28, damaged ones mostly over 0.2, other things 0.17 at most.
LEAST_PEAK = 0.19
LIMITS = "scikit-image's cascade finds upright, frontal faces only, and is easily lost on damaged ones"


class CascadeDetector:
    """Stands in for `faces.FaceDetector` where YuNet cannot be had; see `LIMITS`."""

    def __init__(self):
        self._cascade = Cascade(skimage.data.lbp_frontal_face_cascade_filename())
        self._landmarks = Landmarker()

    def detect(self, image: np.ndarray) -> list[Face]:
        """Faces in ``image`` (uint8, RGB (H, W, 3) or grey (H, W)), the largest first; maybe none."""
        image = as_rgb(image)
        candidates = [self._landmarks.face_in_box(image, box) for box in self._boxes(image)]
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


def _same(face: Face, other: Face) -> bool:
    """Whether two candidates are one face: their eyes' middles are closer than half the distance of the eyes."""
    middles = [one.landmarks[:2].mean(axis=0) for one in (face, other)]
    apart = np.linalg.norm(other.landmarks[1] - other.landmarks[0])
    return bool(np.linalg.norm(middles[0] - middles[1]) < 0.5 * apart)
