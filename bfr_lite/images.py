"""Pictures in and out: checks, files, kinds, grids.

Inside the project a picture is a float32 RGB tensor in [0, 1]. This module is the border: it turns paths, PIL images
and uint8 arrays into such tensors and back, and refuses what would only fail later and less clearly.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from bfr_lite.files import atomic_path

# What is opened (an MPO as JPEG), whatever a file is called. Pillow knows more, and runs programs for some, as for EPS.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "GIF")


class ImageError(ValueError):
    """A picture that cannot be used; the message says what was given and what would work."""


def check_images(images: Tensor, size: int | None = None, name: str = "images") -> None:
    """Raise `ImageError` unless `images` is a finite float tensor (B, 3, H, W) in [0, 1].

    `size`, when given, is the height and width required, in pixels.
    """
    if not isinstance(images, Tensor):
        raise ImageError(f"{name} must be a torch tensor (B, 3, H, W), got {type(images).__name__}")
    if images.ndim != 4 or images.shape[1] != 3:
        raise ImageError(f"{name} must have shape (B, 3, H, W), got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise ImageError(f"{name} must be float in [0, 1], got {images.dtype}: divide uint8 values by 255")
    if images.numel() == 0:
        raise ImageError(f"{name} holds no pixels: shape {tuple(images.shape)}")
    if size is not None and images.shape[-2:] != (size, size):
        raise ImageError(
            f"{name} must be {size}x{size} pixels, got {images.shape[-2]}x{images.shape[-1]}: "
            "align and resize the face first"
        )
    low, high = images.detach().aminmax()
    if not (torch.isfinite(low) and torch.isfinite(high)):
        raise ImageError(f"{name} holds NaN or infinite values")
    if low < -1e-4 or high > 1 + 1e-4:
        raise ImageError(f"{name} must lie in [0, 1], got [{low:.3g}, {high:.3g}]: scale or clamp them first")


@contextmanager
def opened(path: str | os.PathLike) -> Iterator[Image.Image]:
    """A picture file as PIL opens it. Whatever fails while it is read becomes an `ImageError`.

    Raises `FileNotFoundError` when there is no such file, `ImageError` when it is no readable picture or several.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such picture: {path}")
    with decoded(path, str(path)) as picture:
        yield picture


@contextmanager
def decoded(source: Path | BinaryIO, path: str) -> Iterator[Image.Image]:
    """A picture from a file or its bytes, as `opened`; ``path`` is what errors call it."""
    try:
        with Image.open(source, formats=FORMATS) as picture:
            frames = getattr(picture, "n_frames", 1)
            if frames > 1 and picture.format != "MPO":  # in an MPO, a camera's JPEG, the others are previews
                raise ImageError(f"it holds {frames} pictures, frames or pages: save the one you mean by itself")
            yield picture
    except ImageError as error:
        raise ImageError(f"cannot use {path}: {error}") from None
    except Exception as error:  # a decoder raises whatever a damaged file makes it stumble over, TypeError among others
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"  # it names no file
        raise ImageError(f"cannot read {path} as a picture{reason}; PNG, JPEG, WebP, BMP and TIFF work") from error


def load_image(path: str | os.PathLike) -> Tensor:
    """Read a picture file as a (3, H, W) float32 tensor in [0, 1]; EXIF rotation applied, made RGB.

    Raises as `opened`.
    """
    with opened(path) as picture:
        return pil_to_tensor(picture)


def save_image(image: Tensor, path: str | os.PathLike) -> None:
    """Write a (3, H, W) tensor in [0, 1] to `path`, whole or not at all; the suffix chooses the format."""
    save_uint8(tensor_to_uint8(image), path)


def save_uint8(picture: np.ndarray, path: str | os.PathLike, icc_profile: bytes | None = None) -> None:
    """Write an (H, W, 3 or 4) uint8 array to `path`, whole or not at all; the suffix chooses the format.

    Raises `ImageError` for a suffix that cannot be written, and for transparency in a JPEG.
    """
    path = Path(path)
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind == "JPEG" and picture.shape[-1] == 4:
        raise ImageError(f"cannot write {path}: a JPEG has no transparency, use .png or .webp")
    if kind not in Image.SAVE:
        raise ImageError(f"cannot write {path}: use a suffix such as .png or .jpg")
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, format=kind, icc_profile=icc_profile)


def upright_rgb(picture: Image.Image) -> Image.Image:
    """A PIL picture of 8 or 16 bits as RGB, turned as its EXIF says. Raises `ImageError` for grey of no known range."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("I", "F"):  # what is white is written nowhere, and `convert` would clip at 255
        raise ImageError("its grey has an unknown range: save it as 8-bit, or as 16-bit PNG or TIFF")
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((np.asarray(picture) / 257).round().astype(np.uint8))
    return picture.convert("RGB")


def pil_to_tensor(picture: Image.Image) -> Tensor:
    """A PIL picture as a (3, H, W) float32 tensor in [0, 1]. Raises as `upright_rgb`."""
    return uint8_to_tensor(np.asarray(upright_rgb(picture)))


def uint8_to_tensor(picture: np.ndarray) -> Tensor:
    """An (H, W, 3) uint8 array as a (3, H, W) float32 tensor in [0, 1]."""
    return torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1).contiguous()


def tensor_to_uint8(image: Tensor) -> np.ndarray:
    """A (3, H, W) tensor in about [0, 1] as an (H, W, 3) uint8 array, rounded and clamped."""
    return (image.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


def tensor_to_pil(image: Tensor) -> Image.Image:
    """A (3, H, W) tensor in about [0, 1] as an RGB PIL picture."""
    return Image.fromarray(tensor_to_uint8(image))


def to_batch(image: Tensor | np.ndarray | Image.Image | str | os.PathLike) -> tuple[Tensor, Callable[[Tensor], object]]:
    """Turn any kind of picture into a (B, 3, H, W) batch, with the function that turns a batch back into that kind.

    Kinds: float tensors (3, H, W) or (B, 3, H, W) in [0, 1]; uint8 arrays (H, W, 3) or (B, H, W, 3); PIL pictures;
    paths (which come back as PIL pictures). Raises `ImageError` for anything else, `FileNotFoundError` for a path that
    leads nowhere.
    """
    if isinstance(image, str | os.PathLike):
        return load_image(image)[None], lambda batch: tensor_to_pil(batch[0])
    if isinstance(image, Image.Image):
        return pil_to_tensor(image)[None], lambda batch: tensor_to_pil(batch[0])
    if isinstance(image, np.ndarray):
        return _array_to_batch(image)
    if not isinstance(image, Tensor):
        raise ImageError(
            f"cannot use a {type(image).__name__} as a picture: give a tensor, a uint8 array, a PIL picture or a path"
        )
    if image.ndim == 3:
        check_images(image[None])
        return image[None], lambda batch: batch[0]
    check_images(image)
    return image, lambda batch: batch


def _array_to_batch(array: np.ndarray) -> tuple[Tensor, Callable[[Tensor], np.ndarray]]:
    if array.dtype != np.uint8:
        raise ImageError(
            f"arrays must be uint8 (0 to 255), got {array.dtype}: convert, or give a float tensor in [0, 1]"
        )
    if array.ndim not in (3, 4) or array.shape[-1] != 3 or array.size == 0:
        raise ImageError(f"arrays must have shape (H, W, 3) or (B, H, W, 3), got {array.shape}")
    batch = torch.from_numpy(array.reshape(-1, *array.shape[-3:]).astype(np.float32) / 255).permute(0, 3, 1, 2)
    if array.ndim == 3:
        return batch.contiguous(), lambda out: tensor_to_uint8(out[0])
    return batch.contiguous(), lambda out: np.stack([tensor_to_uint8(one) for one in out])


def resize(images: Tensor, size: int) -> Tensor:
    """Resize (B, 3, H, W) to (B, 3, size, size) by antialiased bicubic interpolation, clamped to [0, 1]."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)


def to_square(images: Tensor, size: int) -> Tensor:
    """`resize` for aligned faces, which are square. Raises `ImageError` for pictures (B, 3, H, W) that are not."""
    height, width = images.shape[-2:]
    if height != width:
        raise ImageError(f"an aligned face is square, this is {width}x{height}: cut the face out first")
    return resize(images, size)


def grid(images: Tensor, columns: int) -> Tensor:
    """Lay (B, 3, H, W) pictures out row by row, two white pixels apart, as one (3, H', W') picture."""
    padded = F.pad(images.detach(), (1, 1, 1, 1), value=1.0)
    missing = -len(padded) % columns
    padded = torch.cat([padded, padded.new_ones(missing, *padded.shape[1:])])
    rows = [torch.cat(list(row), dim=2) for row in padded.split(columns)]
    return torch.cat(rows, dim=1)
