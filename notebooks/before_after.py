"""Write the before/after picture: degraded faces above, restored faces in the middle, the originals below.

python notebooks/before_after.py build/before_after.png
"""

from __future__ import annotations

import sys

import skimage.data
import torch

from bfr_lite import Restorer, degrade, load_faces
from bfr_lite.images import grid, resize, save_image

COLUMNS = 6
SEVERITY = 0.6
ASTRONAUT = (slice(0, 260), slice(90, 350))  # rows and columns around the face


def main(path: str) -> None:
    """Degrade and restore synthetic faces and the astronaut, and save all three rows at `path`."""
    restorer = Restorer.from_pretrained("lite")
    faces = load_faces("synthetic")
    photo = torch.from_numpy(skimage.data.astronaut()[ASTRONAUT]).permute(2, 0, 1)[None] / 255
    clean = torch.cat([torch.stack([faces[i] for i in range(COLUMNS - 1)]), resize(photo, faces.size)])
    degraded = degrade(clean, SEVERITY, torch.Generator().manual_seed(0))
    restored = restorer.restore(degraded)
    save_image(grid(torch.cat([degraded, restored, clean]), COLUMNS), path)


if __name__ == "__main__":
    main(sys.argv[1])
