"""Photos, folders and weights that go wrong: a restored photo or one clear line each, and nothing lost."""

import json
import os
import pickle
import resource
import subprocess
import sys

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from safetensors.torch import save_file

from bfr_lite import cli

FACE = skimage.data.astronaut()[:256, 96:352]


def crowd(rows: int, columns: int, side: int) -> np.ndarray:
    """Portraits of `side` pixels, row by row."""
    return np.tile(cv2.resize(FACE, (side, side), interpolation=cv2.INTER_AREA), (rows, columns, 1))


def restore(photo, out, *options):
    return cli.main([str(one) for one in ("restore", photo, "-o", out, *options)])


def saved(picture: np.ndarray, path):
    Image.fromarray(picture).save(path)
    return path


class TestPhotos:
    def test_no_face(self, weights, congress_root, tmp_path, capsys):
        photo = saved(skimage.data.coffee(), tmp_path / "coffee.png")
        assert restore(photo, tmp_path / "out", "--weights", weights) == 1
        assert "no face to restore: none was found" in capsys.readouterr().err
        assert list((tmp_path / "out").iterdir()) == []

    def test_a_face_cut_by_the_border(self, weights, congress_root, tmp_path, capsys):
        photo = saved(FACE[:, 100:], tmp_path / "cut.png")
        assert restore(photo, tmp_path / "out", "--weights", weights, "--json") == 0
        (fact,) = json.loads(capsys.readouterr().out)["written"]
        assert len(fact["faces"]) == 1
        written = np.asarray(Image.open(fact["output"]))
        assert written.shape == FACE[:, 100:].shape and (written != FACE[:, 100:]).any()

    def test_a_face_upside_down_is_restored_upside_down_or_named(self, weights, congress_root, tmp_path, capsys):
        photo = saved(np.ascontiguousarray(FACE[::-1, ::-1]), tmp_path / "down.png")
        code = restore(photo, tmp_path / "out", "--weights", weights)
        told = capsys.readouterr()
        if code == 0:
            turned = np.asarray(Image.open(tmp_path / "out" / "down.png"))[::-1, ::-1]
            assert np.abs(turned.astype(int) - FACE).mean() < 10
        else:
            assert code == 1 and "no face to restore" in told.err

    def test_two_hundred_faces(self, weights, congress_root, tmp_path, capsys):
        photo = saved(crowd(10, 20, 96), tmp_path / "crowd.png")
        assert restore(photo, tmp_path / "out", "--weights", weights, "--json") == 0
        (fact,) = json.loads(capsys.readouterr().out)["written"]
        assert len(fact["faces"]) == 200 and not any(face["left_out"] for face in fact["faces"])

    def test_a_box_where_no_detector_looks(self, weights, tmp_path, capsys):
        photo = saved(FACE, tmp_path / "face.png")
        assert restore(photo, tmp_path / "out", "--weights", weights, "--box", 90, 60, 90, 120, "--json") == 0
        (fact,) = json.loads(capsys.readouterr().out)["written"]
        assert [face["box"] for face in fact["faces"]] == [[90, 60, 90, 120]]

    @pytest.mark.parametrize("box", [(300, 0, 50, 50), (0, 0, 0, 20), (-80, 10, 40, 40)])
    def test_a_box_that_holds_nothing(self, box, weights, tmp_path, capsys):
        photo = saved(FACE, tmp_path / "face.png")
        assert restore(photo, tmp_path / "out", "--weights", weights, "--box", *box) == 1
        assert "holds nothing of a photo of 256x256 pixels" in capsys.readouterr().err

    def test_a_box_far_larger_than_the_photo(self, weights, tmp_path, capsys):
        photo = saved(FACE, tmp_path / "face.png")
        assert restore(photo, tmp_path / "out", "--weights", weights, "--box", -5e5, -5e5, 1e6, 1e6) == 1
        assert "far larger than a photo of 256x256 pixels" in capsys.readouterr().err

    def test_a_file_that_is_no_detector(self, weights, tmp_path, capsys):
        photo, detector = saved(FACE, tmp_path / "face.png"), tmp_path / "yunet.onnx"
        detector.write_bytes(b"no network")
        assert restore(photo, tmp_path / "out", "--weights", weights, "--detector", detector) == 2
        assert "no YuNet" in capsys.readouterr().err

    def test_faces_of_several_photos_share_a_batch_and_stay_apart(self, weights, congress_root, tmp_path, capsys):
        folder, alone = tmp_path / "photos", tmp_path / "alone"
        folder.mkdir()
        for name, picture in (("a", FACE), ("b", FACE[:, ::-1]), ("c", crowd(1, 2, 160)), ("d", np.zeros_like(FACE))):
            saved(np.ascontiguousarray(picture), folder / f"{name}.png")
        assert restore(folder, tmp_path / "together", "--weights", weights) == 1, "d holds no face"
        for name in "abc":
            assert restore(folder / f"{name}.png", alone, "--weights", weights) == 0
            one, other = (np.asarray(Image.open(at / f"{name}.png")) for at in (tmp_path / "together", alone))
            assert np.abs(one.astype(int) - other).max() <= 1


class TestFiles:
    def test_a_pattern_is_taken_as_the_pictures_it_matches(self, weights, tmp_path):
        for name in ("a1.png", "a2.png", "b1.png"):
            saved(FACE, tmp_path / name)
        assert restore(tmp_path / "a*.png", tmp_path / "out", "--aligned", "--weights", weights) == 0
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a1.png", "a2.png"]

    def test_a_pattern_that_matches_nothing(self, weights, tmp_path, capsys):
        assert restore(tmp_path / "*.png", tmp_path / "out", "--aligned", "--weights", weights) == 2
        assert "no such picture, folder or pattern" in capsys.readouterr().err

    @pytest.mark.skipif(os.name == "nt", reason="limits of a process are POSIX's")
    def test_a_disk_that_is_full(self, weights, tmp_path):
        """The system itself refuses the bytes: a limit on the size of files stands for the disk's end."""
        photo, out = saved(FACE, tmp_path / "face.png"), tmp_path / "out"
        done = subprocess.run(
            [sys.executable, "-m", "bfr_lite", "restore", photo, "-o", out, "--aligned", "--weights", weights],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500)),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert "File too large" in done.stderr and "Traceback" not in done.stderr
        assert list(out.iterdir()) == [], "no half of a picture"

    @pytest.mark.parametrize("options", [["--aligned"], ["--box", "90", "60", "90", "120"]])
    def test_two_processes_that_write_the_same_picture(self, options, weights, tmp_path):
        photo, out = saved(FACE, tmp_path / "face.png"), tmp_path / "out"
        command = [sys.executable, "-m", "bfr_lite", "restore", photo, "-o", out, *options, "--overwrite"]
        running = [subprocess.Popen([*command, "--weights", weights]) for _ in range(2)]
        assert [one.wait() for one in running] == [0, 0]
        assert [path.name for path in out.iterdir()] == ["face.png"]
        side = 32 if "--aligned" in options else len(FACE)
        assert np.asarray(Image.open(out / "face.png")).shape == (side, side, 3)

    def test_debug_shows_what_users_are_spared(self, weights, tmp_path, capsys):
        arguments = [str(tmp_path / "none.png"), "-o", str(tmp_path / "out"), "--weights", str(weights)]
        assert cli.main(["restore", *arguments]) == 2
        assert "Traceback" not in capsys.readouterr().err
        with pytest.raises(FileNotFoundError):
            cli.main(["--debug", "restore", *arguments])


class RunsCode:
    """Unpickled, it would make a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


class TestWeights:
    @pytest.fixture
    def refused(self, tmp_path, capsys):
        photo = saved(FACE, tmp_path / "face.png")

        def told(weights) -> str:
            assert restore(photo, tmp_path / "out", "--aligned", "--weights", weights) == 2
            assert not (tmp_path / "out").exists()
            (line,) = capsys.readouterr().err.splitlines()
            return line

        return told

    def test_truncated(self, weights, tmp_path, refused):
        (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:5000])
        (tmp_path / "cut.json").write_text('{"preset": "tiny"}')
        assert "cut.safetensors" in refused(tmp_path / "cut.safetensors")

    def test_altered_by_a_byte(self, weights, tmp_path, refused):
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        (tmp_path / "altered.safetensors").write_bytes(content)
        (tmp_path / "altered.json").write_text(weights.with_suffix(".json").read_text())
        assert "damaged or altered" in refused(tmp_path / "altered.safetensors")

    def test_of_another_preset(self, weights, tmp_path, refused):
        (tmp_path / "other.safetensors").write_bytes(weights.read_bytes())
        (tmp_path / "other.json").write_text('{"preset": "lite"}')
        assert "other.safetensors" in refused(tmp_path / "other.safetensors")

    def test_of_nothing_known(self, tmp_path, refused):
        save_file({"a": torch.zeros(3)}, tmp_path / "odd.safetensors")
        assert "odd.safetensors" in refused(tmp_path / "odd.safetensors")

    def test_a_pickle_that_would_run_code(self, tmp_path, refused):
        path = tmp_path / "evil.safetensors"
        path.write_bytes(pickle.dumps(RunsCode(tmp_path / "owned")))
        assert "evil.safetensors" in refused(path)
        assert not (tmp_path / "owned").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux counts it")
def test_a_large_photo_of_ten_faces_stays_under_two_gigabytes(tmp_path, congress_root):
    """24 megapixels, ten faces, the shipped weights; measured in a process of its own, imports included."""
    canvas = np.full((4000, 6000, 3), 128, np.uint8)
    canvas[500:2500, :5000] = crowd(2, 5, 1000)
    photo = tmp_path / "large.jpg"
    Image.fromarray(canvas).save(photo, quality=90)
    script = (
        "import resource, sys; from bfr_lite import cli; code = cli.main(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "restore", photo, "-o", tmp_path / "out", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    (fact,) = json.loads(done.stdout)["written"]
    assert len(fact["faces"]) == 10
    assert int(done.stderr.split()[-1]) < 2 * 2**20, "kilobytes"
