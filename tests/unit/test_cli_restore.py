"""`bfr-lite restore`: aligned faces in, PNG files out, errors said once, nothing lost."""

import json
import re
import shutil

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from bfr_lite import Restorer, cli
from bfr_lite.astronaut import astronaut
from bfr_lite.images import load_image, save_image


@pytest.fixture
def faces(tmp_path):
    """A folder of two faces and a text file."""
    folder = tmp_path / "faces"
    folder.mkdir()
    save_image(astronaut(32), folder / "a.png")
    save_image(astronaut(48), folder / "b.jpg")
    (folder / "notes.txt").write_text("not taken for a picture")
    return folder


def run(*arguments):
    return cli.main([str(argument) for argument in ("restore", "--aligned", *arguments)])


def run_photos(*arguments):
    return cli.main([str(argument) for argument in ("restore", *arguments)])


def test_a_folder_becomes_restored_pictures(faces, weights, tmp_path, capsys):
    out = tmp_path / "new" / "out"
    assert run(faces, "-o", out, "--weights", weights) == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png"]
    assert all(Image.open(path).size == (32, 32) for path in out.iterdir())
    restored = Restorer.from_pretrained(weights).restore(load_image(faces / "a.png"))
    assert (load_image(out / "a.png") - restored).abs().max() <= 0.51 / 255
    first = capsys.readouterr().out.splitlines()[0]
    assert re.fullmatch(re.escape(f"{faces / 'a.png'} -> {out / 'a.png'}: ") + r"\d+\.\d\d s", first)


def test_fidelity_reaches_the_restorer(faces, weights, tmp_path):
    for fidelity in (0, 1):
        assert run(faces / "a.png", "-o", tmp_path / str(fidelity), "--weights", weights, "--fidelity", fidelity) == 0
    assert not torch.equal(load_image(tmp_path / "0" / "a.png"), load_image(tmp_path / "1" / "a.png"))


def test_the_shipped_weights_are_the_default(faces, tmp_path, capsys):
    assert run(faces / "a.png", "-o", tmp_path / "out", "--json") == 0
    (fact,) = json.loads(capsys.readouterr().out)["written"]
    assert fact.pop("seconds") > 0
    assert fact == {
        "input": str(faces / "a.png"),
        "output": str(tmp_path / "out" / "a.png"),
        "fidelity": 0.5,
        "weights": "lite",
    }
    assert Image.open(fact["output"]).size == (128, 128)


def test_it_goes_on_after_bad_pictures(faces, weights, tmp_path, capsys):
    (faces / "broken.jpg").write_bytes(b"not a picture")
    Image.new("RGB", (40, 30)).save(faces / "wide.png")
    assert run(faces, "-o", tmp_path / "out", "--weights", weights, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert len(report["written"]) == 2
    broken, wide = report["failed"]
    assert "cannot read" in broken["error"]
    assert "40x30" in wide["error"] and "square" in wide["error"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize(("room", "written"), [(0, 0), (1, 2)])
def test_faces_that_do_not_fit_into_memory(faces, weights, tmp_path, monkeypatch, capsys, room, written):
    """Together they are too many: each is tried alone, and told of where that fails, too."""
    restore = Restorer.restore

    def little_memory(self, batch, *arguments, **options):
        if len(batch) > room:
            raise RuntimeError("not enough memory")
        return restore(self, batch, *arguments, **options)

    monkeypatch.setattr(Restorer, "restore", little_memory)
    assert run(faces, "-o", tmp_path / "out", "--weights", weights, "--json") == (0 if written else 1)
    report = json.loads(capsys.readouterr().out)
    assert len(report["written"]) == written
    assert [one["error"] for one in report["failed"]] == ["not enough memory"] * (2 - written)


def test_bad_pictures_are_listed_for_people(faces, weights, tmp_path, capsys):
    (faces / "broken.jpg").write_bytes(b"not a picture")
    assert run(faces, "-o", tmp_path / "out", "--weights", weights) == 1
    error = capsys.readouterr().err
    assert "broken.jpg" in error and "1 of 3 pictures failed" in error


def test_outputs_are_replaced_only_when_told(faces, weights, tmp_path, capsys):
    out, options = tmp_path / "out", ("--weights", weights)
    assert run(faces, "-o", out, *options, "--fidelity", 0) == 0
    before = (out / "a.png").read_bytes()
    assert run(faces, "-o", out, *options, "--fidelity", 1) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (out / "a.png").read_bytes() == before
    assert run(faces, "-o", out, *options, "--fidelity", 1, "--overwrite") == 0
    assert (out / "a.png").read_bytes() != before


def test_a_picture_half_written_leaves_the_old_one(faces, weights, tmp_path, monkeypatch):
    out, options = tmp_path / "out", ("--weights", weights, "--overwrite")
    assert run(faces / "a.png", "-o", out, *options) == 0
    before = (out / "a.png").read_bytes()

    def fill_the_disk(picture, file, **options):
        file.write_bytes(b"half a pic")
        raise OSError("no space left on device")

    monkeypatch.setattr(Image.Image, "save", fill_the_disk)
    assert run(faces / "a.png", "-o", out, *options) == 1
    assert [path.name for path in out.iterdir()] == ["a.png"]
    assert (out / "a.png").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fidelity", "1.5"], "fidelity must lie in [0, 1]"),
        (["--fidelity", "nan"], "fidelity must lie in [0, 1]"),
        (["--weights", "huge"], "no restorer weights for preset 'huge'"),
        (["--weights", "none.safetensors"], "no weights at none.safetensors"),
    ],
)
def test_wrong_options_are_said_once(faces, tmp_path, options, message, capsys):
    assert run(faces, "-o", tmp_path / "out", *options) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_damaged_weights_are_said_once(faces, weights, tmp_path, capsys):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(weights.read_bytes()[:-100])
    damaged.with_suffix(".json").write_text(weights.with_suffix(".json").read_text())
    assert run(faces, "-o", tmp_path / "out", "--weights", damaged) == 2
    error = capsys.readouterr().err
    assert "damaged or altered" in error and len(error.splitlines()) == 1


@pytest.fixture
def photos(tmp_path, congress_root):
    """A folder of two photos: one with a face, one without."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(skimage.data.astronaut()).resize((256, 256)).save(folder / "astronaut.png")
    Image.fromarray(skimage.data.coffee()).save(folder / "coffee.png")
    return folder


@pytest.mark.parametrize("scale", [1, 2])
def test_a_photo_keeps_all_but_its_faces(photos, weights, tmp_path, capsys, scale):
    out = tmp_path / "out"
    assert run_photos(photos, "-o", out, "--scale", scale, "--weights", weights, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    (fact,), (failure,) = report["written"], report["failed"]
    assert "none was found" in failure["error"] and not (out / "coffee.png").exists()
    (face,) = fact["faces"]
    assert face["left_out"] == "" and abs(face["yaw"]) < 30
    assert 2 < face["shrunk"] < 6 and f"shrunk {face['shrunk']:.1f} times" in fact["summary"]
    before = Image.open(photos / "astronaut.png").convert("RGB")
    before = before.resize((256 * scale, 256 * scale), Image.Resampling.LANCZOS) if scale > 1 else before
    changed = (np.asarray(Image.open(fact["output"])) != np.asarray(before)).any(axis=-1)
    left, top, width, height = (scale * value for value in face["box"])
    assert changed[int(top + height / 2), int(left + width / 2)]
    changed[: int(top + 2 * height), max(0, int(left - width)) : int(left + 2 * width)] = False
    assert not changed.any()


def test_scale_is_for_photos(faces, weights, tmp_path, capsys):
    assert run(faces, "-o", tmp_path / "out", "--scale", 2, "--weights", weights) == 2
    assert "leave out --aligned" in capsys.readouterr().err


def test_a_box_needs_no_detector(faces, tmp_path, capsys):
    options = ["--box", "1", "1", "9", "9", "--detector", str(tmp_path / "none.onnx")]
    assert cli.main(["restore", str(faces / "a.png"), "-o", str(tmp_path / "out"), *options]) == 2
    assert "--box takes the place of --detector" in capsys.readouterr().err


def test_hidden_files_are_no_pictures(faces, weights, tmp_path, capsys):
    """macOS leaves a `._a.png` beside `a.png` on disks of other systems."""
    folder = tmp_path / "stick"
    shutil.copytree(faces, folder)
    (folder / "._a.png").write_bytes(b"resource fork")
    assert run(folder, "-o", tmp_path / "out", "--weights", weights) == 0
    assert not list((tmp_path / "out").glob("._*"))


def test_names_that_differ_in_case_alone_do_not_meet_on_a_mac(faces, weights, tmp_path):
    folder = tmp_path / "camera"
    folder.mkdir()
    for name in ("IMG_1.png", "img_1.bmp"):
        Image.open(next(faces.glob("*.png"))).save(folder / name)
    assert run(folder, "-o", tmp_path / "out", "--weights", weights) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["IMG_1.png.png", "img_1.bmp.png"]
