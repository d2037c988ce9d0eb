"""A group photo that anybody may have: portraits that our prior invented, framed, on a wall."""

from __future__ import annotations

import cv2
import numpy as np

from bfr_lite.alignment import warp_by_area
from bfr_lite.data import load_faces
from bfr_lite.images import tensor_to_uint8

COLUMNS, CELL = 3, (250, 240)  # frames in a row; height and width of the wall around each, in pixels
SIDES, TILT = (96, 190), 8.0  # of a portrait: least and greatest side in pixels, greatest tilt in degrees
FRAME = 7  # pixels
WALL = np.array([196, 184, 168], np.float32)


def group_photo(count: int = 6, seed: int = 0) -> np.ndarray:
    """`count` invented portraits of many sizes, each a little tilted, on a wall: (H, W, 3) uint8 RGB.

    The same seed gives the same photo. The faces are those of `load_faces("synthetic", split="test")`.
    """
    faces = load_faces("synthetic", split="test", count=count).batch(range(count))
    draw = np.random.default_rng(seed)
    rows = -(-count // COLUMNS)
    wall = np.empty((rows * CELL[0], COLUMNS * CELL[1], 3), np.float32)
    wall[:] = WALL * np.linspace(1.08, 0.9, wall.shape[0], dtype=np.float32)[:, None, None]
    for number, face in enumerate(faces):
        row, column = divmod(number, COLUMNS)
        middle = (np.array([column, row]) + 0.5) * CELL[::-1] + draw.uniform(-12, 12, 2)
        _hang(wall, tensor_to_uint8(face), middle, draw.uniform(*SIDES), draw.uniform(-TILT, TILT))
    return wall.round().clip(0, 255).astype(np.uint8)


def _hang(wall: np.ndarray, portrait: np.ndarray, middle: np.ndarray, side: float, tilt: float) -> None:
    """Draw a framed portrait (S, S, 3) at `middle` (x, y), `side` pixels wide, tilted by degrees, in place."""
    size = len(portrait)
    border = round(FRAME * size / side)
    framed = cv2.copyMakeBorder(portrait, *[border] * 4, cv2.BORDER_CONSTANT, value=(58, 46, 38))
    centre = (len(framed) - 1) / 2
    matrix = cv2.getRotationMatrix2D((centre, centre), tilt, side / size)
    matrix[:, 2] += middle - centre
    shape = wall.shape[1::-1]
    cover = cv2.warpAffine(np.ones(framed.shape[:2], np.float32), matrix, shape, flags=cv2.INTER_LINEAR)[..., None]
    drawn = warp_by_area(framed.astype(np.float32), matrix, shape, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
    wall += cover * (drawn - wall)
