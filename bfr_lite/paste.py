"""Put a restored face back into its photo, so that no seam shows and nothing else changes."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bfr_lite.alignment import warp_by_area
from bfr_lite.images import tensor_to_uint8

# The face as an ellipse in the FFHQ position, in shares of the crop: hairline to chin, cheek to cheek.
CENTRE_X, CENTRE_Y, HALF_WIDTH, HALF_HEIGHT = 0.5, 0.56, 0.285, 0.345
FEATHER = 0.28  # share of the radius over which the mask fades, outside the ellipse
TURN = 0.09  # how far the ellipse moves aside at 90 degrees of yaw
COLOUR_SIGMA = 0.12  # coarser than this share of the crop, colours are the photo's own


def face_mask(size: int, yaw: float = 0.0) -> np.ndarray:
    """How much of a crop (size, size) in the FFHQ position is replaced: 1 on the face, fading to 0 around it.

    yaw: degrees as `alignment.estimate_yaw` has them. A face turned to the right shows more of its left cheek, and the
    far one ends sooner: the mask narrows and moves to the near side. Zero along the whole border of the crop.
    """
    turned = math.sin(math.radians(yaw))
    along = (np.arange(size) + 0.5) / size
    x = (along[None, :] - (CENTRE_X - TURN * turned)) / (HALF_WIDTH * (1 - 0.25 * abs(turned)))
    y = (along[:, None] - CENTRE_Y) / HALF_HEIGHT
    inside = (1 + FEATHER - np.hypot(x, y)) / FEATHER
    # The chin's fade may reach the crop's border, where a second fade ends it.
    edge = np.minimum(np.minimum(along, 1 - along) - 0.5 / size, 0.1) / 0.1
    return (_smooth_step(inside) * np.minimum(edge[None, :], edge[:, None])).astype(np.float32)


def match_colours(restored: Tensor, damaged: Tensor) -> Tensor:
    """Give `restored` (3, S, S) the coarse colours of `damaged` (3, S, S), and leave its detail alone.

    Both are split by a wide blur, and the coarse parts exchanged: what StableSR (Wang et al., arXiv 2305.07015) does
    with wavelets. So a photo's light stays as it is, and no edge of another tint appears around the face.
    """
    sigma = COLOUR_SIGMA * restored.shape[-1]
    coarse = [
        cv2.GaussianBlur(image.permute(1, 2, 0).float().cpu().numpy(), (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
        for image in (damaged, restored)
    ]
    return (restored + torch.from_numpy(coarse[0] - coarse[1]).permute(2, 0, 1).to(restored)).clamp(0, 1)


def enlarge(photo: np.ndarray, scale: int) -> np.ndarray:
    """The whole photo, (H, W, 3) or (H, W) uint8, at `scale` times its size, by Lanczos; itself at scale 1."""
    if scale == 1:
        return photo
    height, width = photo.shape[:2]
    return np.asarray(Image.fromarray(photo).resize((width * scale, height * scale), Image.Resampling.LANCZOS))


def paste(canvas: np.ndarray, restored: Tensor, mask: np.ndarray, matrix: np.ndarray, scale: int = 1) -> None:
    """Blend one restored face into `canvas` (H, W, 3) uint8, in place.

    Args:
        canvas: the photo, already enlarged by `scale`.
        restored: (3, S, S) in [0, 1], in the FFHQ position.
        mask: (S, S), as `face_mask` gives it.
        matrix: (2, 3) from the photo before enlarging to the crop, as `alignment.alignment_matrix` gives it.

    Pixels where the mask is zero keep their bits; only the face's own rectangle is touched, so that memory does not
    grow with the photo.
    """
    size = len(mask)
    to_crop = matrix.copy()  # from pixels of the canvas: centres of pixels scale about -0.5
    to_crop[:, :2] /= scale
    to_crop[:, 2] += matrix[:, :2] @ np.full(2, 0.5 / scale - 0.5)
    left, top, right, bottom = _rectangle(to_crop, size, canvas.shape)
    if left >= right or top >= bottom:
        return
    to_crop[:, 2] += to_crop[:, :2] @ (left, top)
    there, shape = cv2.invertAffineTransform(to_crop), (right - left, bottom - top)
    face = warp_by_area(tensor_to_uint8(restored), there, shape, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
    weight = warp_by_area(mask, there, shape, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)[..., None]
    part = canvas[top:bottom, left:right]
    blended = part + weight * (face - part)
    part[...] = np.where(weight > 0, blended.round().clip(0, 255), part).astype(np.uint8)


def _rectangle(to_crop: np.ndarray, size: int, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the crop's outline on the canvas, within the canvas."""
    corners = np.array([[0, 0], [size - 1, 0], [0, size - 1], [size - 1, size - 1]], dtype=np.float64)
    back = cv2.invertAffineTransform(to_crop)
    points = corners @ back[:, :2].T + back[:, 2]
    low = np.floor(points.min(axis=0)).clip(0).astype(int)
    high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 1, shape[1::-1])
    return low[0], low[1], high[0], high[1]


def _smooth_step(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, and without a kink between."""
    x = x.clip(0, 1)
    return x * x * (3 - 2 * x)
