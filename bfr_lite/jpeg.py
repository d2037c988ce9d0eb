"""JPEG twice: the real codec, and the same steps as tensor operations that gradients can cross.

Baseline JPEG (ITU-T T.81, with the JFIF colour space) is: RGB to YCbCr, the two colour planes halved (4:2:0),
every plane cut into 8x8 blocks, a cosine transform of each block, and each coefficient divided by a table
entry and *rounded*. Only the rounding loses detail; the rest (Huffman coding) is lossless, so a picture after
JPEG can be had without it.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bfr_lite.images import check_images
from bfr_lite.layers import at_least_float32, full_precision

BLOCK = 8
SAMPLING = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)  # halved colour planes
MCU = 2 * BLOCK  # with halved colour planes the codec works on 16x16 pixels at a time

# T.81, Annex K.1: how coarsely each of the 8x8 frequencies is kept at quality 50, in brightness and colour.
LUMA_TABLE = torch.tensor(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=torch.float32,
)
CHROMA_TABLE = torch.full((BLOCK, BLOCK), 99.0)
CHROMA_TABLE[:4, :4] = torch.tensor(
    [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]], dtype=torch.float32
)

# JFIF 1.02: full-range BT.601. Colour planes are centred on 0 here, where a file has them centred on 128.
RGB_TO_YCBCR = torch.tensor(
    [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]]
)
YCBCR_TO_RGB = torch.tensor([[1, 0, 1.402], [1, -0.344136286, -0.714136286], [1, 1.772, 0]])


class QualityError(ValueError):
    """A JPEG quality outside 1 to 100, or not one for each picture."""


def jpeg(images: Tensor, quality: int | Tensor) -> Tensor:
    """Send pictures through the real JPEG codec (libjpeg-turbo, by OpenCV; 4:2:0).

    `images` (B, 3, H, W) in [0, 1]; `quality` 1 to 100, one for all or an integer tensor (B,). Returns the
    same shape, dtype and device; no gradient passes. Raises `ImageError` and `QualityError`.
    """
    check_images(images)
    qualities = _qualities(quality, len(images))
    coded = [through_file(image, q) for image, q in zip(images, qualities, strict=True)]
    return torch.stack(coded).to(images)


def jpeg_differentiable(images: Tensor, quality: int | Tensor, sizes: Tensor | None = None) -> Tensor:
    """Compute what JPEG does to pictures, with gradients to the pictures.

    Arguments and errors as for `jpeg`; any height and width. The rounding is straight-through: exact on the
    way forward, so that the result matches the real codec, and the identity on the way back. Smooth roundings
    (Shin & Song, *JPEG-resistant adversarial images*, 2017) have slope 0 at whole numbers, and most
    coefficients of a compressed picture are 0: hardly any gradient would come through.

    sizes: (B, 2) rows and columns of each picture, where pictures of different sizes share a canvas. H and W are then
    multiples of 16, beyond its own size each repeats its last row and column (`repeat_last`), and what comes back there
    means nothing.
    """
    check_images(images)
    qualities = _qualities(quality, len(images))
    with full_precision(images):
        return _compress(at_least_float32(images), qualities, sizes).to(images)


def quantisation_table(table: Tensor, quality: int) -> Tensor:
    """Scale an 8x8 quality-50 table to `quality` (1 to 100) by the formula of the Independent JPEG Group."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((table * percent + 50) / 100).floor().clamp(1, 255)


def rgb_to_ycbcr(images: Tensor) -> Tensor:
    """(B, 3, H, W) RGB to brightness Y and colour differences Cb, Cr, centred on 0; any value range."""
    return torch.einsum("dc,bchw->bdhw", RGB_TO_YCBCR.to(images), images)


def luma(images: Tensor) -> Tensor:
    """The brightness (B, 1, H, W) of (B, 3, H, W) RGB pictures: Y alone."""
    return (images * RGB_TO_YCBCR[0].to(images)[:, None, None]).sum(dim=1, keepdim=True)


def ycbcr_to_rgb(images: Tensor) -> Tensor:
    """Undo `rgb_to_ycbcr`."""
    return torch.einsum("dc,bchw->bdhw", YCBCR_TO_RGB.to(images), images)


def dct_matrix() -> Tensor:
    """The orthonormal 8x8 cosine transform D: `D @ block @ D.T` holds a block's frequencies, lowest first."""
    frequency, position = torch.arange(BLOCK)[:, None], torch.arange(BLOCK)[None, :]
    waves = torch.cos(math.pi * frequency * (2 * position + 1) / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    waves[0] /= math.sqrt(2)
    return waves


def repeat_last(planes: Tensor, sizes: Tensor) -> Tensor:
    """`planes` (B, C, H, W) where, beyond `sizes` (B, 2) rows and columns, the last row and column stand."""
    for axis in (2, 3):
        index = torch.arange(planes.shape[axis], device=planes.device).minimum(sizes[:, axis - 2, None] - 1)
        index = index[:, None, :, None] if axis == 2 else index[:, None, None, :]
        planes = planes.gather(axis, index.expand(planes.shape))
    return planes


def _compress(images: Tensor, qualities: list[int], sizes: Tensor | None = None) -> Tensor:
    """What JPEG makes of pictures; `sizes` (B, 2) where they share a canvas."""
    height, width = images.shape[-2:]
    # To fill blocks, libjpeg repeats the last column before it halves the colour planes, the last row after.
    padded = F.pad(images, (0, -width % MCU, 0, height % 2), mode="replicate")
    ycbcr = _round_straight_through(rgb_to_ycbcr(_round_straight_through(255 * padded)))

    brightness = _code_plane(ycbcr[:, :1] - 128, _tables(LUMA_TABLE, qualities, images)) + 128
    halved, narrow = _halve(ycbcr[:, 1:]), torch.tensor([width <= 4], device=images.device)
    if sizes is not None:
        narrow = sizes[:, 1] <= 4
        blocks = (sizes[:, 1] + MCU - 1) // MCU
        halves = torch.stack([(sizes[:, 0] + 1) // 2, BLOCK * blocks], dim=1)  # the picture's rows, its blocks' columns
        halved = repeat_last(halved, halves)
    colour = _code_plane(halved, _tables(CHROMA_TABLE, qualities, images))
    if sizes is not None:
        colour = repeat_last(colour, halves)
    # libjpeg widens the colour planes by a triangle filter ("fancy upsampling": bilinear interpolation), but
    # planes of one or two columns by repeating pixels.
    smooth = _round_straight_through(F.interpolate(colour, scale_factor=2, mode="bilinear", align_corners=False))
    if narrow.any():
        colour = torch.where(narrow[:, None, None, None], F.interpolate(colour, scale_factor=2), smooth)
    else:
        colour = smooth

    rgb = ycbcr_to_rgb(torch.cat([brightness, colour], dim=1)[..., :height, :width])
    return (_round_straight_through(rgb) / 255).clamp(0, 1)


def _halve(planes: Tensor) -> Tensor:
    """Means of 2x2 pixels; libjpeg keeps whole numbers, adding 1 and 2 quarters in turn before it cuts."""
    means = F.avg_pool2d(planes, 2)
    bias = torch.tensor([0.25, 0.5]).to(means).repeat(means.shape[-1] // 2 + 1)[: means.shape[-1]]
    return _straight_through(means, (means + bias).floor())


def _code_plane(planes: Tensor, tables: Tensor) -> Tensor:
    """Transform, quantise by `tables` (B, 8, 8), transform back, round; `planes` (B, C, H, W), 8 divides W."""
    height = planes.shape[2]
    padded = F.pad(planes, (0, 0, 0, -height % BLOCK), mode="replicate")
    dct = dct_matrix().to(planes)
    blocks = padded.unflatten(3, (-1, BLOCK)).unflatten(2, (-1, BLOCK)).transpose(3, 4)
    steps = tables[:, None, None, None]
    frequencies = _quantise(dct @ blocks @ dct.T, steps) * steps
    decoded = (dct.T @ frequencies @ dct).transpose(3, 4).reshape(padded.shape)[:, :, :height]
    return _round_straight_through(decoded)


def _quantise(frequencies: Tensor, steps: Tensor) -> Tensor:
    """Whole numbers of steps, as libjpeg counts them: frequencies to 1/8, then halves away from zero.

    Halves are common (the mean of a block is a multiple of 1/8), so a tie left to the last bit of a float
    would be decided by the machine.
    """
    eighths = (8 * frequencies).round()
    counts = eighths.sign() * (eighths.abs() / (8 * steps) + 0.5 + 1e-5).floor()
    return _straight_through(frequencies / steps, counts)


def _round_straight_through(values: Tensor) -> Tensor:
    return _straight_through(values, values.round())


def _straight_through(values: Tensor, rounded: Tensor) -> Tensor:
    """`rounded` on the way forward, `values` on the way back."""
    return values + (rounded - values).detach()


def _tables(table: Tensor, qualities: list[int], like: Tensor) -> Tensor:
    return torch.stack([quantisation_table(table, quality) for quality in qualities]).to(like)


def through_file(image: Tensor, quality: int) -> Tensor:
    """`jpeg` of one picture (3, H, W), without its checks; returns float32 on the CPU, whatever is given."""
    planes = np.rint(255 * image.detach().float().cpu().numpy()).astype(np.uint8)
    pixels = cv2.merge(list(planes[::-1]))  # OpenCV has blue first
    _, file = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality, *SAMPLING])
    planes = cv2.split(cv2.imdecode(file, cv2.IMREAD_COLOR))[::-1]
    return torch.from_numpy(np.stack(planes).astype(np.float32) / np.float32(255))


def _qualities(quality: int | Tensor, batch: int) -> list[int]:
    given = quality.tolist() if isinstance(quality, Tensor) and quality.ndim else [float(quality)] * batch
    if len(given) != batch or not all(1 <= q <= 100 and q == int(q) for q in given):
        raise QualityError(f"quality must be whole, from 1 to 100, one or {batch} of them; got {quality}")
    return [int(q) for q in given]
