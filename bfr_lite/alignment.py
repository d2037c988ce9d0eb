"""Bring a face into the FFHQ position by its five landmarks, and estimate from them which way it looks.

Points are (x, y) in pixels, x to the right and y down; the centres of pixels have whole coordinates.
Landmarks are eye, eye, nose tip, mouth corner, mouth corner; of each pair the one on the left of an upright
picture (the person's right) comes first.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor

# Where FFHQ (Karras et al., CVPR 2019) has the five points in a picture of 512 px, as facexlib measured it.
FFHQ_POINTS_512 = np.array(
    [
        [192.98138, 239.94708],
        [318.90277, 240.19360],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
)

# The mean head, in units of the distance of the eyes. NOSE_DEPTH: how far the nose tip stands out from the
# plane of eyes and mouth; the value that best explains how the eyes of 782 portraits draw together as the
# nose goes aside (0.54 +- 0.05). FACE_HEIGHT: eyes to mouth. NOSE_LEVEL: of the nose tip, eyes 0 and mouth 1.
NOSE_DEPTH = 0.54
FACE_HEIGHT = 0.96
NOSE_LEVEL = 0.585


class FaceError(ValueError):
    """A picture or landmarks that cannot be used; the message says what was given and what would work."""


def as_rgb(image: np.ndarray) -> np.ndarray:
    """A uint8 picture (H, W, 3) from one that is RGB or grey (H, W); raises FaceError for anything else."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.size == 0:
        given = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise FaceError(f"expected a uint8 array of shape (H, W, 3) or (H, W), got {given}")
    if image.ndim == 2:
        image = np.stack([image] * 3, axis=-1)
    if image.ndim != 3 or image.shape[2] != 3:
        raise FaceError(f"expected shape (H, W, 3) or (H, W), got {image.shape}: convert the picture to RGB")
    return np.ascontiguousarray(image)


def _five_points(landmarks: np.ndarray) -> np.ndarray:
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape[-2:] != (5, 2) or not np.isfinite(points).all():
        raise FaceError(f"expected five finite points, shape (..., 5, 2), got shape {points.shape}")
    return points


def template(size: int, yaw: float = 0.0) -> np.ndarray:
    """The five points (5, 2) in the FFHQ position in a picture of ``size`` px, of a head turned by ``yaw`` degrees.

    Turned, the mean head's eyes and mouth draw together and its nose goes aside, about the same middle. (Fitted to the
    frontal points, a head turned by 45 degrees comes out 4 % larger, and none of its points where it should.)
    """
    points = FFHQ_POINTS_512.copy()
    if yaw:
        angle, eyes = math.radians(yaw), points[1, 0] - points[0, 0]
        across = (points[:, 0] - points[:2, 0].mean()) * math.cos(angle)
        across[2] += NOSE_DEPTH * eyes * math.sin(angle)
        points[:, 0] = across - across.mean() + points[:, 0].mean()
    return (points + 0.5) * (size / 512) - 0.5  # pixel edges scale, not pixel centres


def alignment_matrix(landmarks: np.ndarray, size: int, yaw: float = 0.0) -> np.ndarray:
    """Similarity (2, 3) from the picture of ``landmarks`` (5, 2) to a face of ``size`` px as in FFHQ, see `template`.

    OpenCV's robust estimators sample subsets at random to reject outliers; of five points none can be spared, and the
    result would jump as a landmark moves. Raises FaceError if they coincide.
    """
    return similarity(_five_points(landmarks), template(size, yaw))


def similarity(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity (2, 3) that brings ``points`` (N, 2) nearest to ``target`` (N, 2).

    Least squares in closed form (Umeyama, PAMI 1991): with points as complex numbers one division, which cannot
    reflect. Raises FaceError if the points coincide.
    """
    centred = (points - points.mean(0)) @ (1, 1j)
    spread = np.vdot(centred, centred).real
    if spread < 1e-6:
        raise FaceError("the five landmarks coincide: no face can be aligned by them")
    turn = np.vdot(centred, (target - target.mean(0)) @ (1, 1j)) / spread  # rotation and scale as one number
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([linear, target.mean(0) - linear @ points.mean(0)])


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> Tensor:
    """Picture (3, size, size) in [0, 1] of ``image`` (uint8 RGB) under the similarity ``matrix`` (2, 3).

    Shrinking averages over the area of each new pixel: cubic interpolation onto a grid as fine as the source,
    then the mean of every block. Outside its frame the source is reflected, and the reflection blurred.
    """
    image = as_rgb(image)
    out = warp_by_area(image, matrix, (size, size), cv2.INTER_CUBIC, cv2.BORDER_REFLECT_101)
    out = _soften_outside(out, _outside(image.shape[:2], matrix, size))
    return torch.from_numpy(np.ascontiguousarray(out.transpose(2, 0, 1)) / 255).clamp_(0, 1)


def warp_by_area(image: np.ndarray, matrix: np.ndarray, shape: tuple[int, int], kind: int, border: int) -> np.ndarray:
    """`image` under the similarity `matrix` (2, 3), float32, (width, height) = `shape`; shrinking takes means.

    kind, border: OpenCV's interpolation and border, on a grid as fine as the source.
    """
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    factor = max(1, math.ceil(1 / scale - 1e-6))
    fine = matrix * factor
    fine[:, 2] += (factor - 1) / 2  # the centre of a pixel is the centre of its block
    out = cv2.warpAffine(image, fine, (shape[0] * factor, shape[1] * factor), flags=kind, borderMode=border)
    return cv2.resize(out.astype(np.float32), shape, interpolation=cv2.INTER_AREA)


def align(image: np.ndarray, landmarks: np.ndarray, size: int) -> Tensor:
    """Face (3, size, size) in [0, 1] in the FFHQ position; ``image``: uint8 RGB, ``landmarks``: (5, 2).

    `alignment_matrix` gives the transform itself, which pasting back needs.
    """
    return warp(image, alignment_matrix(landmarks, size), size)


def transform(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points (..., 2) moved by the affine ``matrix`` (2, 3)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def _outside(shape: tuple[int, int], matrix: np.ndarray, size: int) -> np.ndarray:
    """How far each output pixel (size, size) lies outside the source, in output pixels; 0 within it."""
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1)
    source = transform(grid, cv2.invertAffineTransform(matrix))
    beyond = np.maximum(-source, source - (np.array(shape[::-1]) - 1)).clip(0)
    return np.hypot(*matrix[:, 0]) * np.hypot(beyond[..., 0], beyond[..., 1])


def _soften_outside(image: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Blur ``image`` (size, size, 3) more and more the farther ``outside``, as the makers of FFHQ did.

    A network would learn the hard edge of a reflection, and the second ear in it, as part of a face.
    """
    if not outside.any():
        return image
    size = len(image)
    for sigma, reach in ((0.02, 0.03), (0.08, 0.10)):  # shares of the size
        blurred = cv2.GaussianBlur(image, (0, 0), sigma * size, borderType=cv2.BORDER_REFLECT_101)
        weight = (outside / (reach * size)).clip(0, 1).astype(np.float32)
        image = image + (blurred - image) * weight[..., None]
    return image


def estimate_yaw(landmarks: np.ndarray) -> np.ndarray:
    """Yaw in degrees (...,) from ``landmarks`` (..., 5, 2); 0 is frontal.

    Positive: the face is turned to the right side of the picture (the person's left). The model is the mean
    head seen from afar. Turned by yaw, its nose tip moves aside by NOSE_DEPTH sin(yaw) while its eyes draw
    together to cos(yaw), so the nose in the frame of eyes and mouth gives tan(yaw), whatever the position,
    size and roll. Noses differ in length: angles may be off by a tenth, and by 2 degrees as landmarks are.
    """
    across, _, eyes = _nose(landmarks)
    return np.degrees(np.arctan2(across, NOSE_DEPTH * eyes))


def estimate_pitch(landmarks: np.ndarray) -> np.ndarray:
    """Pitch in degrees (...,) from ``landmarks`` (..., 5, 2); positive looks up. The model of `estimate_yaw`.

    0 is the mean of official portraits.
    """
    _, down, eyes = _nose(landmarks)
    return np.degrees(np.arctan2((NOSE_LEVEL * eyes - down) * FACE_HEIGHT, NOSE_DEPTH * eyes))


def mouth_width(landmarks: np.ndarray) -> np.ndarray:
    """Width of the mouth (...,) from ``landmarks`` (..., 5, 2), in distances of the eyes, seen under the same yaw.

    It widens as a smile draws the corners back.
    """
    points = _five_points(landmarks)
    mouth, eyes = points[..., 4, :] - points[..., 3, :], points[..., 1, :] - points[..., 0, :]
    return np.linalg.norm(mouth, axis=-1) / np.linalg.norm(eyes, axis=-1)


def _nose(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nose tip in the oblique frame of the face: two numerators and their denominator, which is 0 in profile.

    across / eyes: distance from the line between eyes and mouth, in distances of the eyes. down / eyes: 0 at
    the level of the eyes, 1 at the level of the mouth.
    """
    points = _five_points(landmarks)
    middle = points[..., :2, :].mean(-2)
    eye_to_eye = points[..., 1, :] - points[..., 0, :]
    eyes_to_mouth = points[..., 3:, :].mean(-2) - middle
    nose = points[..., 2, :] - middle
    return _cross(nose, eyes_to_mouth), _cross(eye_to_eye, nose), _cross(eye_to_eye, eyes_to_mouth)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
