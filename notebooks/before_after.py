"""Write the before/after picture: degraded faces above, restored faces in the middle, the originals below.

python notebooks/before_after.py build/before_after.png
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import torch
from PIL import Image

from bfr_lite import Restorer, degrade, load_faces
from bfr_lite.astronaut import astronaut
from bfr_lite.plots import gallery

COLUMNS = 6  # the last one is the photo
SEVERITIES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.5)
SEED = 0


def faces() -> tuple[torch.Tensor, torch.Tensor]:
    """Clean faces (6, 3, 128, 128), synthetic ones and the astronaut, and the same degraded."""
    clean = torch.cat([load_faces("synthetic", split="test").batch(range(COLUMNS - 1)), astronaut(128)[None]])
    generator = torch.Generator().manual_seed(SEED)
    pairs = zip(clean.split(1), SEVERITIES, strict=True)
    return clean, torch.cat([degrade(face, severity, generator) for face, severity in pairs])


def main() -> None:
    """Degrade and restore the faces, and save all three rows, labelled."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path, help="file to write, such as before_after.png")
    path = parser.parse_args().picture
    clean, degraded = faces()
    restored = Restorer.from_pretrained("lite").restore(degraded)
    rows = {"degraded": degraded, "restored": restored, "original": clean}
    titles = [f"severity {severity}" for severity in SEVERITIES]
    Image.open(io.BytesIO(gallery(rows, titles).data)).save(path)


if __name__ == "__main__":
    main()
