"""The one real photo that is always there: astronaut Eileen Collins (NASA, public domain), out of scikit-image."""

from __future__ import annotations

import numpy as np
import skimage.data
from torch import Tensor

from bfr_lite.alignment import align

# In pixels of `skimage.data.astronaut()`, as YuNet finds them; written down, so that no detector is needed.
LANDMARKS = np.array([[201.8, 104.2], [246.2, 103.7], [222.5, 126.7], [204.8, 143.9], [242.7, 144.0]])


def astronaut(size: int = 128) -> Tensor:
    """Her face (3, size, size) in [0, 1], in the FFHQ position; above about 180 px it only gets larger, not finer."""
    return align(skimage.data.astronaut(), LANDMARKS, size)
