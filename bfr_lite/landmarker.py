"""Five landmarks anywhere in a photo: `LandmarkNet`, which knows aligned faces, applied until its answer settles."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import torch
from torch import Tensor

from bfr_lite.alignment import alignment_matrix, transform, warp
from bfr_lite.faces import Face
from bfr_lite.landmarks import MIRRORED, LandmarkNet

# Where the five points lie in a box of the cascade, on average over forty portraits, in shares of its sides.
POINTS_IN_BOX = np.array([[0.30, 0.37], [0.70, 0.37], [0.50, 0.60], [0.33, 0.78], [0.67, 0.78]])
ROUNDS_FROM_BOX, ROUNDS = 3, 2  # of aligning the picture by the points and looking again


@cache
def _aligner() -> LandmarkNet:
    return LandmarkNet.from_pretrained("lite", kind="aligner")


class Landmarker:
    """Finds the points of a face from a first guess.

    On damaged photos it sees more than YuNet, whose points it starts from: it has seen damage. What that is worth, its
    card and `data/benchmarks/photos.py` say.
    """

    def __init__(self):
        self._network = _aligner()

    def settle(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Points (5, 2) in pixels of `image` (H, W, 3) uint8 RGB, found again, from where they were thought to be."""
        return self._settle(image, points, ROUNDS)[0]

    def face_in_box(self, image: np.ndarray, box: np.ndarray) -> Face:
        """The face in `box` (left, top, width, height); its score is the mean peak of the heat maps."""
        points, aligned = self._settle(image, box[:2] + POINTS_IN_BOX * box[2:], ROUNDS_FROM_BOX)
        with torch.no_grad():
            peaks = self._network.heat_maps(aligned)[0].flatten(1).amax(dim=1)
        return Face(box, points, float(peaks.mean()))

    @torch.no_grad()
    def _settle(self, image: np.ndarray, points: np.ndarray, rounds: int) -> tuple[np.ndarray, Tensor]:
        """The points, and the last picture (1, 3, size, size) that they were found in."""
        size = self._network.config.size
        for _ in range(rounds):
            matrix = alignment_matrix(points, size)
            aligned = warp(image, matrix, size)[None]
            points = transform(self._look(aligned), cv2.invertAffineTransform(matrix))
        return points, aligned

    def _look(self, aligned: Tensor) -> np.ndarray:
        """Points (5, 2) in a picture (1, 3, size, size): the mean over it and its mirror image."""
        here, mirrored = self._network(torch.cat([aligned, aligned.flip(3)]))
        mirrored = mirrored[MIRRORED]
        mirrored[:, 0] = aligned.shape[3] - 1 - mirrored[:, 0]
        return ((here + mirrored) / 2).double().numpy()
