"""The border between the project's tensors and the pictures of the world."""

import numpy as np
import pytest
import torch
from PIL import Image

from bfr_lite.images import (
    ImageError,
    check_images,
    grid,
    load_image,
    resize,
    save_image,
    tensor_to_pil,
    tensor_to_uint8,
    to_batch,
)


@pytest.fixture
def picture():
    """A random (12, 10, 3) uint8 array."""
    return np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1, 3, 8, 8)), r"must be a torch tensor \(B, 3, H, W\), got ndarray"),
        (torch.zeros(3, 8, 8), r"shape \(B, 3, H, W\), got \(3, 8, 8\)"),
        (torch.zeros(1, 8, 8, 3), r"shape \(B, 3, H, W\), got \(1, 8, 8, 3\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "uint8: divide uint8 values by 255"),
        (torch.zeros(0, 3, 8, 8), "holds no pixels"),
        (torch.zeros(1, 3, 8, 9), "must be 8x8 pixels, got 8x9"),
        (torch.full((1, 3, 8, 8), float("nan")), "NaN or infinite"),
        (torch.full((1, 3, 8, 8), float("inf")), "NaN or infinite"),
        (torch.full((1, 3, 8, 8), -0.5), r"must lie in \[0, 1\], got \[-0.5, -0.5\]"),
        (torch.full((1, 3, 8, 8), 255.0), r"must lie in \[0, 1\], got \[255, 255\]"),
    ],
)
def test_check_images_says_what_is_wrong(images, message):
    with pytest.raises(ImageError, match=message) as caught:
        check_images(images, size=8, name="faces")
    assert str(caught.value).startswith("faces ")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_check_images_is_content(dtype):
    check_images(torch.rand(2, 3, 8, 6, generator=torch.Generator().manual_seed(0)).to(dtype))
    check_images(torch.zeros(2, 3, 4, 4, dtype=dtype), size=4)
    check_images(torch.tensor([-1e-5, 1 + 1e-5]).expand(1, 3, 4, 2))  # rounding is no reason to refuse


def test_every_byte_survives_the_way_in_and_out(tmp_path):
    bytes_ = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    batch, as_given = to_batch(bytes_)
    assert batch.dtype == torch.float32 and batch.min() >= 0 and batch.max() <= 1
    np.testing.assert_array_equal(as_given(batch), bytes_)
    save_image(batch[0], tmp_path / "bytes.png")
    assert torch.equal(load_image(tmp_path / "bytes.png"), batch[0])


def test_bytes_are_rounded_and_clamped():
    values = torch.tensor([-1.0, 0.4 / 255, 0.6 / 255, 254.6 / 255, 7.0])
    assert tensor_to_uint8(values.expand(3, 1, -1))[0, :, 0].tolist() == [0, 0, 1, 255, 255]


def test_each_kind_comes_back(picture, tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(picture).save(path)
    tensor = torch.from_numpy(picture).permute(2, 0, 1) / 255
    kinds = {
        "path": (path, Image.Image),
        "path as text": (str(path), Image.Image),
        "PIL": (Image.fromarray(picture), Image.Image),
        "array": (picture, np.ndarray),
        "arrays": (np.stack([picture, picture]), np.ndarray),
        "tensor": (tensor, torch.Tensor),
        "tensors": (torch.stack([tensor, tensor]), torch.Tensor),
    }
    for kind, (given, type_) in kinds.items():
        batch, as_given = to_batch(given)
        assert torch.equal(batch, tensor.expand(len(batch), -1, -1, -1)), kind
        back = as_given(batch)
        assert isinstance(back, type_), kind
        expected = (12, 10, 3) if kind in ("path", "path as text", "PIL") else given.shape
        assert np.asarray(back).shape == expected, kind


def test_arrays_of_any_layout(picture):
    flipped, _ = to_batch(picture[::-1, ::-1])
    assert torch.equal(flipped, to_batch(picture)[0].flip(2, 3))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1, 2, 3], "cannot use a list as a picture"),
        (None, "cannot use a NoneType"),
        (np.zeros((8, 8, 3)), "must be uint8"),
        (np.zeros((8, 8), np.uint8), r"shape \(H, W, 3\) or \(B, H, W, 3\), got \(8, 8\)"),
        (np.zeros((8, 8, 4), np.uint8), r"got \(8, 8, 4\)"),
        (np.zeros((0, 8, 8, 3), np.uint8), r"got \(0, 8, 8, 3\)"),
        (torch.zeros(8, 8), r"got \(8, 8\)"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), "divide uint8 values by 255"),
        (torch.full((3, 8, 8), float("nan")), "NaN"),
    ],
)
def test_to_batch_says_what_is_wrong(given, message):
    with pytest.raises(ImageError, match=message):
        to_batch(given)


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 77, (77, 77, 77)),
        ("P", 0, (0, 0, 0)),
        ("LA", (77, 255), (77, 77, 77)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("I;16", 32896, (128, 128, 128)),
        ("I;16B", 32896, (128, 128, 128)),
    ],
)
def test_any_mode_becomes_rgb(tmp_path, mode, value, expected):
    path = tmp_path / "picture.tiff"
    Image.new(mode, (3, 2), value).save(path)
    assert (load_image(path)[:, 0, 0] * 255).round().tolist() == list(expected)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_grey_of_32_bits_is_refused_for_its_white_is_unknown(tmp_path, mode):
    path = tmp_path / "picture.tiff"
    Image.new(mode, (3, 2), 1).save(path)
    with pytest.raises(ImageError, match=r"cannot use .*picture\.tiff: its grey has an unknown range"):
        load_image(path)


def test_exif_rotation_is_applied(picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
    upright = torch.from_numpy(np.rot90(picture, -1).copy()).permute(2, 0, 1) / 255
    assert torch.equal(load_image(tmp_path / "turned.png"), upright)


def test_files_that_are_no_pictures(picture, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such picture: .*none\.png"):
        load_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="cannot read"):
        load_image(tmp_path)
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(ImageError, match=r"text\.png as a picture"):
        load_image(tmp_path / "text.png")
    Image.fromarray(picture).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:200])
    with pytest.raises(ImageError, match=r"half\.png as a picture"):
        load_image(tmp_path / "half.png")


def test_saving_is_whole_or_not_at_all(picture, tmp_path, monkeypatch):
    image = to_batch(picture)[0][0]
    save_image(image, tmp_path / "a.jpg")
    before = (tmp_path / "a.jpg").read_bytes()
    assert before[:2] == b"\xff\xd8"  # the suffix chose JPEG

    def fill_the_disk(picture, file, **options):
        file.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(Image.Image, "save", fill_the_disk)
    with pytest.raises(OSError, match="no space"):
        save_image(1 - image, tmp_path / "a.jpg")
    assert (tmp_path / "a.jpg").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


@pytest.mark.parametrize("name", ["a", "a.doc", "a.psd"])
def test_a_suffix_that_cannot_be_written(picture, tmp_path, name):
    with pytest.raises(ImageError, match=r"use a suffix such as \.png"):
        save_image(to_batch(picture)[0][0], tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_resize_keeps_the_range_and_the_mean():
    edge = torch.zeros(1, 3, 16, 16)
    edge[..., 8:] = 1
    for size in (4, 16, 40):
        resized = resize(edge, size)
        assert resized.shape == (1, 3, size, size)
        assert resized.min() >= 0 and resized.max() <= 1  # bicubic overshoots at an edge
        assert abs(resized.mean().item() - 0.5) < 1e-3
    assert resize(edge, 16) is edge
    stripes = torch.arange(16).remainder(2).float().expand(1, 3, 16, 16)
    assert (resize(stripes, 4) - 0.5).abs().max() < 0.1  # antialiased: fine stripes turn grey


def test_grid_lays_out_rows():
    images = torch.linspace(0.1, 0.5, 5)[:, None, None, None].expand(5, 3, 2, 4)
    laid = grid(images, columns=3)
    assert laid.shape == (3, 2 * (2 + 2), 3 * (4 + 2))
    assert laid[0, 1, 1::6].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert laid[0, 5, 1::6].tolist() == pytest.approx([0.4, 0.5, 1.0])  # the missing one is white
    assert laid[0, 0].eq(1).all() and laid[0, :, 5].eq(1).all()


def test_tensor_to_pil_takes_gradients_and_other_precisions():
    image = torch.full((3, 2, 2), 0.5, dtype=torch.float16, requires_grad=True)
    assert tensor_to_pil(image).getpixel((0, 0)) == (128, 128, 128)
