"""Find faces in pictures, with five landmarks each.

Points are (x, y) in pixels, x to the right and y down; the centres of pixels have whole coordinates.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from bfr_lite.alignment import FaceError, align, alignment_matrix, as_rgb, estimate_pitch, estimate_yaw, warp
from bfr_lite.download import MissingFileError, yunet_path

__all__ = [
    "Face",
    "FaceDetector",
    "FaceError",
    "align",
    "alignment_matrix",
    "estimate_pitch",
    "estimate_yaw",
    "warp",
]

BEST_FACE_WIDTH = 100
# The detector sees the picture with its longer side at each of these lengths, as far as it has the pixels
# (the first three always). A face of any size then comes near the size at which YuNet places landmarks best,
# and the mean of three views has 0.6 of the error of one (2 px against 3.3 px, at 57 px between the eyes).
VIEW_SIDES = (192, 288, 432, 648, 972, 1458, 2187, 3280, 4920)
# A large view is seen piece by piece, for memory. Neighbours share enough for every face that a smaller view misses.
TILE, SHARED = 1458, 2 * BEST_FACE_WIDTH
# And where these show no face: in a small view noise is averaged away, and a blurred face is sharp.
SMALL_SIDES = (144, 96)
VIEWS_AVERAGED = 3


@dataclass(frozen=True)
class Face:
    """One face, in pixels of the picture it was found in.

    box: (4,) left, top, width, height. landmarks: (5, 2) eye, eye, nose tip, mouth corner, mouth corner; of
    each pair the one on the left of an upright picture comes first (the person's right). score: 0 to 1.
    """

    box: np.ndarray
    landmarks: np.ndarray
    score: float


class FaceDetector:
    """YuNet (Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", 2023), run by OpenCV.

    model: its ONNX file; by default looked for in ``BFR_LITE_DATA``, then in the cache, then downloaded.
    threshold: least score of a face that is reported. One detector serves one thread. Raises MissingFileError
    when there is no model file and none can be fetched, FaceError when it is no YuNet.
    """

    def __init__(self, model: str | Path | None = None, threshold: float = 0.6):
        self.model = yunet_path() if model is None else Path(model)
        self.threshold = threshold
        if not self.model.is_file():
            raise MissingFileError(f"no face detector at {self.model}: leave model=None to have it fetched")
        # OpenCV 5 warns of its own defaults whenever it makes a network.
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        try:
            # from memory: OpenCV opens no path with letters that a Windows code page lacks
            content, no_config = np.frombuffer(self.model.read_bytes(), np.uint8), np.zeros(0, np.uint8)
            self._network = cv2.FaceDetectorYN.create("onnx", content, no_config, (320, 320), threshold, 0.3, 5000)
            self._network.detect(np.zeros((320, 320, 3), np.uint8))  # any network opens; another's answer does not fit
        except cv2.error as error:
            raise FaceError(f"{self.model} is no YuNet that OpenCV {cv2.__version__} can open") from error
        finally:
            cv2.utils.logging.setLogLevel(level)

    def __reduce__(self) -> tuple:
        # OpenCV's network cannot be copied to a data loader's processes, but made there anew.
        return FaceDetector, (self.model, self.threshold)

    def detect(self, image: np.ndarray) -> list[Face]:
        """Faces in ``image`` (uint8, RGB (H, W, 3) or grey (H, W)), the largest first; maybe none."""
        image = as_rgb(image)
        longer = max(image.shape[:2])
        sides = [side for side in VIEW_SIDES if side <= max(longer, VIEW_SIDES[VIEWS_AVERAGED - 1])]
        found = self._views(image, sides)
        if not len(found):
            found = self._views(image, SMALL_SIDES)
        faces = [_merge(group) for group in _groups(found)]
        return sorted(faces, key=lambda face: -face.box[2] * face.box[3])

    def _views(self, image: np.ndarray, sides: Sequence[int]) -> np.ndarray:
        return np.concatenate([self._view(image, side / max(image.shape[:2])) for side in sides])

    def _view(self, image: np.ndarray, zoom: float) -> np.ndarray:
        """Rows (N, 16) found in ``image`` at ``zoom``: box, landmarks, score, width as it was seen."""
        height, width = image.shape[:2]
        shape = np.array([round(width * zoom), round(height * zoom)])
        if shape.min() < 16:
            return np.zeros((0, 16))
        seen = cv2.resize(image, shape, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)
        rows = np.concatenate([self._tile(seen, *window) for window in _windows(*seen.shape[:2])])
        back = np.array([width, height]) / shape
        box = rows[:, :4] * np.tile(back, 2)
        points = (rows[:, 4:14] + 0.5) * np.tile(back, 5) - 0.5
        return np.column_stack([box, points, rows[:, 14], rows[:, 2]])

    def _tile(self, seen: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """What is found (N, 15) in a window of ``seen``, in its pixels; not what the window cuts."""
        part = cv2.cvtColor(seen[rows, columns], cv2.COLOR_RGB2BGR)
        self._network.setInputSize(part.shape[1::-1])
        found = self._network.detect(part)[1]
        if found is None:
            return np.zeros((0, 15))
        found = found.astype(np.float64)
        here, size = np.array([columns.start, rows.start]), np.array(part.shape[1::-1])
        more_before, more_after = here > 0, here + size < seen.shape[1::-1]
        cut = ((found[:, :2] <= 0) & more_before) | ((found[:, :2] + found[:, 2:4] >= size) & more_after)
        found[:, :14] += np.concatenate([here, [0, 0], np.tile(here, 5)])
        return found[~cut.any(axis=1)]


def _windows(height: int, width: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the windows, at most ``TILE`` pixels a side, that a view is cut into."""
    spans = []
    for length in (height, width):
        count = max(1, math.ceil((length - SHARED) / (TILE - SHARED)))
        starts = np.linspace(0, length - min(length, TILE), count).round().astype(int).tolist()
        spans.append([slice(start, min(start + TILE, length)) for start in starts])
    return list(itertools.product(*spans))


def _groups(rows: np.ndarray) -> list[np.ndarray]:
    """Split rows of all views into one group per face, the most certain row of each first.

    What lies mostly inside a more certain face belongs to it: an eye is not a face of its own.
    """
    rows = rows[np.argsort(-rows[:, 14], kind="stable")]
    groups = []
    while len(rows):
        overlap = _intersection(rows[0], rows) / (rows[:, 2:4].prod(1).clip(1e-9, rows[0, 2:4].prod()))
        same = overlap > 0.5
        same[0] = True
        groups.append(rows[same])
        rows = rows[~same]
    return groups


def _merge(group: np.ndarray) -> Face:
    """The face of one group: landmarks and box averaged over the views that saw it at the best size."""
    area = group[:, 2:4].prod(1)
    shared = _intersection(group[0], group)
    group = group[shared / (area + area[0] - shared).clip(1e-9) > 0.4]
    best = group[np.argsort(np.abs(np.log(group[:, 15] / BEST_FACE_WIDTH)), kind="stable")][:VIEWS_AVERAGED]
    mean = best.mean(0)
    return Face(mean[:4], mean[4:14].reshape(5, 2), float(group[0, 14]))


def _intersection(row: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Area that the box of ``row`` shares with the boxes of ``rows``."""
    low = np.maximum(row[:2], rows[:, :2])
    high = np.minimum(row[:2] + row[2:4], rows[:, :2] + rows[:, 2:4])
    return (high - low).clip(0).prod(1)
