"""Measure the landmarks column of the portraits' manifest anew, by YuNet.

python data/congress_landmarks.py FOLDER   the folder holds the portraits as they were published
"""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bfr_lite.congress import MANIFEST
from bfr_lite.download import check_sha256, write_atomic
from bfr_lite.faces import FaceDetector
from bfr_lite.images import load_image, tensor_to_uint8
from bfr_lite.landmarks import MIRRORED


def measure_landmarks(detector: FaceDetector, picture: np.ndarray) -> np.ndarray:
    """Landmarks (5, 2) of the largest face in ``picture`` (uint8 RGB): mean over it and its mirror image."""
    here = detector.detect(picture)[0].landmarks
    mirrored = detector.detect(picture[:, ::-1])[0].landmarks[MIRRORED]
    mirrored[:, 0] = picture.shape[1] - 1 - mirrored[:, 0]
    return (here + mirrored) / 2


def main(folder: Path) -> None:
    """Write the manifest with the landmarks of the portraits in ``folder``."""
    with MANIFEST.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    detector = FaceDetector()
    for row in tqdm(rows, disable=None):
        check_sha256(folder / row["file"], row["sha256"])
        points = measure_landmarks(detector, tensor_to_uint8(load_image(folder / row["file"])))
        row["landmarks"] = " ".join(f"{value:.1f}" for value in points.ravel())
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(MANIFEST, text.getvalue().encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
