"""Photo files in and out, with what they carry besides colours: transparency and a colour profile."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from bfr_lite.images import decoded, opened, save_uint8, upright_rgb


@dataclass(frozen=True, eq=False)
class PhotoFile:
    """A photo as read from a file.

    pixels: (H, W, 3) uint8 RGB, upright. alpha: (H, W) uint8, or None when all is opaque. icc_profile: what the file
    says its RGB means, or None; of other colour models it is dropped, for it would not fit RGB.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    icc_profile: bytes | None = None


def read_photo(path: str | os.PathLike) -> PhotoFile:
    """Read a photo file. Raises as `images.opened`."""
    with opened(path) as picture:
        return _photo(picture)


def read_upload(content: bytes) -> PhotoFile:
    """As `read_photo`, of a file's content. Raises `ImageError`."""
    with decoded(io.BytesIO(content), "the upload") as picture:
        return _photo(picture)


def _photo(picture: Image.Image) -> PhotoFile:
    alpha = None
    if picture.has_transparency_data:
        alpha = np.asarray(ImageOps.exif_transpose(picture).convert("RGBA"))[..., 3]
    profile = picture.info.get("icc_profile") if picture.mode in ("RGB", "RGBA", "P") else None
    return PhotoFile(np.asarray(upright_rgb(picture)), alpha, profile)


def write_photo(path: str | os.PathLike, photo: PhotoFile, pixels: np.ndarray) -> None:
    """Write `pixels` (H', W', 3) uint8 in place of the photo's own, with its profile and its transparency, resized.

    Whole or not at all; the suffix chooses the format. Raises as `save_uint8`.
    """
    save_uint8(_with_alpha(photo, pixels), path, photo.icc_profile)


def png_of(photo: PhotoFile, pixels: np.ndarray) -> bytes:
    """What `write_photo` would write as PNG."""
    stream = io.BytesIO()
    Image.fromarray(_with_alpha(photo, pixels)).save(stream, "PNG", icc_profile=photo.icc_profile)
    return stream.getvalue()


def _with_alpha(photo: PhotoFile, pixels: np.ndarray) -> np.ndarray:
    if photo.alpha is None:
        return pixels
    height, width = pixels.shape[:2]
    return np.dstack([pixels, Image.fromarray(photo.alpha).resize((width, height), Image.Resampling.LANCZOS)])
