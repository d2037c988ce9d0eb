"""Every kind of file that people, or worse, hand to `bfr-lite restore`: a restored picture or one clear line each."""

import io
import os
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageCms

from bfr_lite import Restorer, cli
from bfr_lite.images import ImageError
from bfr_lite.photo_files import read_photo, write_photo

FACE = Image.fromarray(skimage.data.astronaut()[:256, 96:352])


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that promises `width` x `height` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


def sixteen_bits() -> bytes:
    return encoded(Image.fromarray(np.asarray(FACE.convert("L")).astype(np.uint16) * 257), "PNG")


GOOD = {
    "plain.png": encoded(FACE, "PNG"),
    "one_pixel.png": encoded(FACE.resize((1, 1)), "PNG"),
    "sixteen_bits.png": sixteen_bits(),
    "cmyk.jpg": encoded(FACE.convert("CMYK"), "JPEG"),
    "palette.png": encoded(FACE.convert("P"), "PNG"),
    "grey.jpg": encoded(FACE.convert("L"), "JPEG"),
    "grey_and_alpha.png": encoded(FACE.convert("LA"), "PNG"),
    "still.gif": encoded(FACE, "GIF"),
    "camera.jpg": encoded(FACE, "MPO", save_all=True, append_images=[FACE.resize((64, 64))]),
    "a_png_called.jpg": encoded(FACE, "PNG"),
    "with spaces, ünï and 写真.png": encoded(FACE, "PNG"),
}

BAD = {
    "empty.png": (b"", "cannot read"),
    "text.jpg": (b"not a picture at all", "cannot read"),
    "truncated.png": (GOOD["plain.png"][:-2000], "cannot read"),
    "header_only.png": (GOOD["plain.png"][:20], "cannot read"),
    "bomb.png": (png_header(60_000, 60_000), "exceeds limit"),
    "lying.png": (png_header(64, 64), "cannot read"),
    "animated.gif": (encoded(FACE, "GIF", save_all=True, append_images=[FACE.rotate(90)]), "holds 2 pictures"),
    "pages.tiff": (encoded(FACE, "TIFF", save_all=True, append_images=[FACE, FACE]), "holds 3 pictures"),
    "thin.png": (encoded(FACE.resize((5000, 1)), "PNG"), "an aligned face is square, this is 5000x1"),
    "postscript.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n", "cannot read"),
    "script.png": (b"#!/bin/sh\ntouch /tmp/owned\n", "cannot read"),
}


# What is a face in itself, and no photo of one; what each way says of it.
NO_FACE = "no face to restore: none was found"
BAD_PHOTO = BAD | {"one_pixel.png": (GOOD["one_pixel.png"], NO_FACE), "thin.png": (BAD["thin.png"][0], NO_FACE)}
GOOD_PHOTO = [name for name in GOOD if name not in BAD_PHOTO]


@pytest.fixture
def restore(weights, tmp_path):
    """Restore the picture at `source` into the folder `out`; the exit code."""

    def run(source, *options):
        return cli.main(["restore", str(source), "-o", str(tmp_path / "out"), "--weights", str(weights), *options])

    return run


@pytest.mark.parametrize("name", GOOD)
def test_pictures_of_any_kind_are_restored(name, restore, tmp_path, capsys):
    source, out = tmp_path / name, tmp_path / "out"
    source.write_bytes(GOOD[name])
    assert restore(source, "--aligned") == 0
    assert capsys.readouterr().err == ""
    (written,) = out.iterdir()
    assert written.name == f"{source.stem}.png"
    assert Image.open(written).size == (32, 32)


@pytest.mark.parametrize("name", GOOD_PHOTO)
def test_photos_of_any_kind_are_restored(name, restore, congress_root, tmp_path, capsys):
    source, out = tmp_path / name, tmp_path / "out"
    source.write_bytes(GOOD[name])
    assert restore(source) == 0
    assert capsys.readouterr().err == ""
    (written,) = out.iterdir()
    assert written.name == f"{source.stem}.png"
    before, after = (np.asarray(Image.open(path).convert("RGB")).astype(int) for path in (source, written))
    if name == "sixteen_bits.png":
        before = np.asarray(FACE.convert("L").convert("RGB")).astype(int)
    changed = np.abs(after - before).max(axis=-1) > (2 if name == "cmyk.jpg" else 0)  # as Pillow converts it
    assert changed[100:160, 110:150].any() and not changed[:20].any() and not changed[:, :20].any()


def refused(code, source, out, message, capsys):
    assert code == 1
    failed, total = capsys.readouterr().err.splitlines()
    assert failed.startswith(f"failed: {source}: ") and message in failed
    assert total == "1 of 1 pictures failed"
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("name", BAD)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_no_face_is_one_clear_line_and_nothing_is_written(name, restore, tmp_path, capsys):
    source = tmp_path / name
    source.write_bytes(BAD[name][0])
    refused(restore(source, "--aligned"), source, tmp_path / "out", BAD[name][1], capsys)


@pytest.mark.parametrize("name", BAD_PHOTO)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_no_photo_of_a_face_is_one_clear_line(name, restore, congress_root, tmp_path, capsys):
    source = tmp_path / name
    source.write_bytes(BAD_PHOTO[name][0])
    refused(restore(source), source, tmp_path / "out", BAD_PHOTO[name][1], capsys)


def test_one_bad_file_does_not_stop_the_others(weights, tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name, data in (("a.png", GOOD["plain.png"]), ("b.png", b""), ("c.jpg", GOOD["grey.jpg"])):
        (folder / name).write_bytes(data)
    assert cli.main(["restore", "--aligned", str(folder), "-o", str(out), "--weights", str(weights)]) == 1
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "c.png"]
    assert "1 of 3 pictures failed" in capsys.readouterr().err


def test_an_output_that_cannot_be_made_is_one_clear_line(weights, tmp_path, capsys):
    (tmp_path / "face.png").write_bytes(GOOD["plain.png"])
    (tmp_path / "out").write_text("a file where the folder should be")
    arguments = ["restore", "--aligned", tmp_path / "face.png", "-o", tmp_path / "out", "--weights", weights]
    assert cli.main([str(argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "out") in error and len(error.splitlines()) == 1
    assert (tmp_path / "out").read_text() == "a file where the folder should be"


@pytest.fixture
def nobody(restore, tmp_path):
    """A folder for whom permissions count: as the administrator, this test is nobody in it."""
    if os.name == "nt":
        pytest.skip("permissions are POSIX's")
    (tmp_path / "first.png").write_bytes(GOOD["plain.png"])
    assert restore(tmp_path / "first.png", "--aligned") == 0  # nobody may be unable to import what is not yet
    with tempfile.TemporaryDirectory() as folder:  # not below `tmp_path`, where nobody may not even look
        place, is_root = Path(folder), os.geteuid() == 0
        (place / "face.png").write_bytes(GOOD["plain.png"])
        for path, mode in ((place, 0o755), (place / "closed", 0o000), (place / "kept", 0o555)):
            path.mkdir(exist_ok=True)
            path.chmod(mode)
        if is_root:
            os.seteuid(65534)
        try:
            yield place
        finally:
            if is_root:
                os.seteuid(0)
            (place / "closed").chmod(0o755)
            (place / "kept").chmod(0o755)


@pytest.mark.parametrize(("source", "out", "code"), [("closed", "out", 2), ("face.png", "kept", 1)])
def test_folders_that_may_not_be_read_or_written(source, out, code, nobody, restorer, monkeypatch, capsys):
    monkeypatch.setattr(Restorer, "from_pretrained", lambda weights: restorer)  # nobody may not read the tests' files
    assert cli.main(["restore", "--aligned", str(nobody / source), "-o", str(nobody / out)]) == code
    first = capsys.readouterr().err.splitlines()[0]
    assert "Permission denied" in first and str(nobody) in first
    assert list((nobody / "kept").iterdir()) == []


class TestPhotoFile:
    def test_transparency_and_profile_survive(self, tmp_path):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        picture = FACE.copy()
        picture.putalpha(Image.linear_gradient("L"))
        picture.save(tmp_path / "in.png", icc_profile=profile)
        photo = read_photo(tmp_path / "in.png")
        write_photo(tmp_path / "out.png", photo, 255 - photo.pixels)
        written = Image.open(tmp_path / "out.png")
        assert written.mode == "RGBA" and written.info["icc_profile"] == profile
        assert np.array_equal(np.asarray(written)[..., 3], np.asarray(picture)[..., 3])
        assert np.array_equal(np.asarray(written)[..., :3], 255 - np.asarray(FACE))

    def test_an_enlarged_photo_has_its_transparency_enlarged(self, tmp_path):
        picture = FACE.copy()
        picture.putalpha(128)
        picture.save(tmp_path / "in.png")
        photo = read_photo(tmp_path / "in.png")
        write_photo(tmp_path / "out.png", photo, np.zeros((512, 512, 3), np.uint8))
        written = np.asarray(Image.open(tmp_path / "out.png"))
        assert written.shape == (512, 512, 4) and (written[..., 3] == 128).all()

    @pytest.mark.parametrize("command", [["degrade"], ["restore", "--aligned"]])
    def test_both_commands_keep_them(self, command, tmp_path):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        picture = FACE.copy()
        picture.putalpha(128)
        picture.save(tmp_path / "in.png", icc_profile=profile)
        assert cli.main([*command, str(tmp_path / "in.png"), "-o", str(tmp_path / "out")]) == 0
        written = Image.open(tmp_path / "out" / "in.png")
        assert written.mode == "RGBA" and written.info["icc_profile"] == profile
        assert set(np.asarray(written)[..., 3].flat) == {128}

    def test_a_jpeg_has_no_transparency(self, tmp_path):
        picture = FACE.copy()
        picture.putalpha(128)
        picture.save(tmp_path / "in.png")
        photo = read_photo(tmp_path / "in.png")
        with pytest.raises(ImageError, match="a JPEG has no transparency"):
            write_photo(tmp_path / "out.jpg", photo, photo.pixels)

    def test_a_profile_of_another_colour_model_is_dropped(self, tmp_path):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        FACE.convert("L").save(tmp_path / "grey.png", icc_profile=profile)
        assert read_photo(tmp_path / "grey.png").icc_profile is None

    def test_a_camera_held_sideways(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        FACE.crop((0, 0, 100, 50)).save(tmp_path / "turned.png", exif=exif)
        photo = read_photo(tmp_path / "turned.png")
        assert photo.pixels.shape == (100, 50, 3) and photo.alpha is None
        write_photo(tmp_path / "out.png", photo, photo.pixels)
        assert Image.open(tmp_path / "out.png").getexif().get(0x0112, 1) == 1, "upright already"
