"""The picture of README on whole photos: a snapshot and a wall of invented portraits, worn and restored.

[BFR_LITE_DATA=...] python data/photo_figure.py data/figures/photos.jpg

Worn: shrunk to a quarter, JPEG of quality 40, enlarged. Restored by the shipped weights at fidelity 0.5, faces found by
YuNet, or by what stands in for it.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

from bfr_lite import Restorer
from bfr_lite.group_photo import group_photo
from bfr_lite.images import save_uint8
from bfr_lite.photos import available_detector, find_faces, restore_photo

GAP = 6  # pixels of white


def worn(photo: np.ndarray) -> np.ndarray:
    """`photo` (H, W, 3) uint8, shrunk to a quarter, saved as JPEG of quality 40, and enlarged."""
    height, width = photo.shape[:2]
    stream = io.BytesIO()
    Image.fromarray(photo).resize((width // 4, height // 4), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=40)
    return np.asarray(Image.open(stream).resize((width, height), Image.Resampling.BICUBIC))


def main(path: Path) -> None:
    """Draw it: each photo worn above, restored below."""
    restorer, (detector, _) = Restorer.from_pretrained("lite"), available_detector()
    columns = []
    for photo in (skimage.data.astronaut(), group_photo()):
        given = worn(photo)
        result = restore_photo(given, find_faces(given, detector), restorer)
        shown = [one[:500] for one in (given, result)]
        gap = np.full((GAP, shown[0].shape[1], 3), 255, np.uint8)
        columns += [np.vstack([shown[0], gap, shown[1]]), np.full((1000 + GAP, GAP, 3), 255, np.uint8)]
    save_uint8(np.hstack(columns[:-1]), path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
