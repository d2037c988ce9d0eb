"""Every kind of faces loads, stays the same, and says what is wrong when it cannot."""

import pickle
import time
from concurrent.futures import wait

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torch.utils.data import DataLoader

from bfr_lite import congress, data
from bfr_lite.alignment import FaceError, estimate_yaw, template
from bfr_lite.data import load_faces
from bfr_lite.download import DamagedFileError, MissingFileError
from bfr_lite.face_sets import DataError, FolderFaces
from bfr_lite.images import ImageError


class FakeGenerator(torch.nn.Module):
    """A prior whose picture is its latent code, 8 px."""

    size, z_dim = 8, 192

    def map(self, z, truncation=1.0):
        return 0.5 + 0.1 * truncation * z

    def forward(self, ws):
        return ws.reshape(-1, 3, 8, 8)


@pytest.fixture
def fake_prior(monkeypatch):
    asked = []
    monkeypatch.setattr(data, "load_generator", lambda source: asked.append(source) or FakeGenerator())
    return asked


@pytest.fixture(scope="module")
def portraits64(congress_root, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BFR_LITE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield load_faces("congress", split="test", size=64)


def test_the_manifest_pins_782_portraits():
    splits = {split: congress.portraits(split) for split in ("train", "test", "all")}
    assert {split: len(found) for split, found in splits.items()} == {"train": 709, "test": 73, "all": 782}
    files = [portrait.file for portrait in splits["all"]]
    assert len(set(files)) == 782 and files == sorted(files)
    assert all(len(portrait.sha256) == 64 for portrait in splits["all"])
    assert {one.file for one in splits["train"]}.isdisjoint(one.file for one in splits["test"])


def test_congress_has_faces_names_landmarks_and_yaw(portraits64):
    assert len(portraits64) == len(portraits64.names) == 73
    assert portraits64.size == 64
    assert portraits64[0].shape == (3, 64, 64) and portraits64[0].dtype == torch.float32
    assert portraits64.images_uint8.dtype == torch.uint8
    assert portraits64.landmarks.shape == (73, 5, 2)
    assert portraits64.landmarks.mean(0).numpy() == pytest.approx(template(64), abs=1)
    assert portraits64.yaw.numpy() == pytest.approx(estimate_yaw(portraits64.landmarks.numpy()), abs=1e-3)


def test_a_batch_is_the_faces_one_by_one(portraits64):
    batch = portraits64.batch([3, 0, -1])
    assert torch.equal(batch, torch.stack([portraits64[3], portraits64[0], portraits64[72]]))
    assert torch.equal(batch, portraits64.batch(torch.tensor([3, 0, 72])))
    assert 0 <= batch.min() < 0.2 and 0.8 < batch.max() <= 1


def test_a_dataset_ends(portraits64):
    assert sum(1 for _ in portraits64) == 73
    with pytest.raises(IndexError, match="73 faces"):
        portraits64[73]


def test_congress_comes_from_the_cache_the_second_time(congress_root, own_cache, monkeypatch):
    first = load_faces("congress", split="test", size=32, count=5)
    monkeypatch.setattr(congress, "_align_all", None)
    second = load_faces("congress", split="test", size=32)
    assert torch.equal(first.images_uint8, second.images_uint8[:5])
    assert first.names == second.names[:5]
    assert first.names[0] == "A000014"


@pytest.mark.parametrize("damage", ["stale", "cut"])
def test_a_cache_that_does_not_fit_is_made_anew(congress_root, own_cache, damage):
    expected = load_faces("congress", split="test", size=16).images_uint8
    (cached,) = (own_cache / "aligned").iterdir()
    if damage == "stale":
        np.savez(cached, images=np.zeros((73, 3, 16, 16), np.uint8), landmarks=np.zeros((73, 5, 2)), key="old")
    else:
        cached.write_bytes(cached.read_bytes()[:5000])
    assert torch.equal(load_faces("congress", split="test", size=16).images_uint8, expected)


def test_a_damaged_portrait_is_named(congress_root, own_cache, tmp_path, monkeypatch):
    folder = tmp_path / "data" / "faces" / "congress"
    folder.mkdir(parents=True)
    monkeypatch.setenv("BFR_LITE_DATA", str(tmp_path / "data"))
    name = congress.portraits("test")[0].file
    with pytest.raises(MissingFileError, match=name):
        load_faces("congress", split="test")
    (folder / name).write_bytes(b"half")
    with pytest.raises(DamagedFileError, match=name):
        load_faces("congress", split="test")


def test_synthetic_faces_do_not_depend_on_count_or_batch(fake_prior):
    many = load_faces("synthetic", size=8, count=9, seed=4)
    few = load_faces(size=8, count=2, seed=4)
    assert fake_prior == ["lite", "lite"]
    assert torch.equal(many[1], few[1])
    assert torch.equal(many.batch([5, 1]), torch.stack([many[5], many[1]]))
    assert not torch.equal(many[0], many[1])
    assert many.landmarks is None and many.yaw is None
    assert len(load_faces(size=8)) == 1000


def test_synthetic_seeds_splits_and_truncation_differ(fake_prior):
    face = load_faces(size=8, seed=0)[0]
    assert not torch.equal(face, load_faces(size=8, seed=1)[0])
    assert not torch.equal(face, load_faces(size=8, seed=0, split="test")[0])
    assert load_faces(size=8, truncation=0.0)[0] == pytest.approx(0.5)
    assert load_faces(size=8, truncation=0.1)[0].std() < face.std()


def test_synthetic_leaves_the_global_generator_alone(fake_prior):
    before = torch.get_rng_state()
    load_faces(size=8).batch(range(4))
    assert torch.equal(before, torch.get_rng_state())


def test_synthetic_takes_weights_and_refuses_to_enlarge(fake_prior):
    load_faces("synthetic", "my/prior.safetensors", size=8)
    assert fake_prior == ["my/prior.safetensors"]
    with pytest.raises(DataError, match="draws 8 px"):
        load_faces("synthetic", size=16)


@pytest.fixture
def folder(tmp_path):
    """Pictures of several modes and sizes; the red half of `turned.jpg` is on top once EXIF is heeded."""
    (tmp_path / "sub").mkdir()
    colours = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    Image.fromarray(colours).save(tmp_path / "b.png")
    Image.fromarray(colours).convert("L").save(tmp_path / "a.jpg")
    Image.fromarray(colours).convert("P").save(tmp_path / "sub" / "palette.PNG")
    Image.fromarray(colours).convert("CMYK").save(tmp_path / "sub" / "print.tiff")
    lying = np.zeros((32, 64, 3), np.uint8)
    lying[:, :32, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to view
    Image.fromarray(lying).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.jpg").write_text("no picture")
    return tmp_path


def test_a_folder_is_read_recursively_and_sorted(folder):
    faces = load_faces("folder", folder, size=16)
    assert faces.names == ["a.jpg", "b.png", "sub/palette.PNG", "sub/print.tiff", "turned.jpg"]
    assert faces.batch(range(5)).shape == (5, 3, 16, 16)
    grey = faces[0]
    assert torch.equal(grey[0], grey[1])
    top, bottom = faces[4][0, 0], faces[4][0, -1]
    assert top.mean() > 0.9 and bottom.mean() < 0.1
    assert load_faces("folder", str(folder), size=16, count=2).names == ["a.jpg", "b.png"]


def test_a_picture_of_the_right_size_is_left_as_it_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "face.png")
    face = load_faces("folder", tmp_path, size=32)[0]
    assert torch.equal(face, torch.from_numpy(pixels).permute(2, 0, 1) / 255)


def test_a_corrupt_picture_is_named_when_it_is_read(folder):
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:200])
    faces = load_faces("folder", folder, size=16)
    with pytest.raises(ImageError, match=r"b\.png"):
        faces[1]


def test_expected_faces_are_read_beforehand_and_once(folder, monkeypatch):
    faces, read = load_faces("folder", folder, size=16), []
    plain = faces.batch(range(len(faces)))
    face = FolderFaces._face
    monkeypatch.setattr(FolderFaces, "_face", lambda self, number: read.append(number) or face(self, number))
    faces.expect([0, -1, 0])
    wait(faces._expected.values())
    assert sorted(read) == [0, len(faces) - 1]
    torch.testing.assert_close(faces.batch([0, -1]), plain[[0, -1]], atol=0, rtol=0)
    assert sorted(read) == [0, len(faces) - 1]
    faces.batch([0])  # kept for one asking only
    assert sorted(read) == [0, 0, len(faces) - 1]
    with pytest.raises(IndexError):
        faces.expect([len(faces)])


def test_what_a_face_fails_with_is_said_when_it_is_asked_for(folder):
    (folder / "broken.png").write_bytes(b"no picture")
    faces = load_faces("folder", folder, size=16)
    faces.expect(range(len(faces)))
    faces.batch([faces.names.index("broken.png") - 1])
    with pytest.raises(ImageError, match=r"broken\.png"):
        faces.batch([faces.names.index("broken.png")])


def test_after_a_bad_file_nobody_reads_the_rest(folder, monkeypatch):
    faces, read = load_faces("folder", folder, size=16), []

    def face(self, number):
        read.append(number)
        if number == 0:
            raise ImageError("bad")
        time.sleep(0.05)
        return torch.zeros(3, 16, 16)

    monkeypatch.setattr(FolderFaces, "_face", face)
    faces.readers = 1
    with pytest.raises(ImageError, match="bad"):
        faces.batch(range(len(faces)))
    threads = torch.get_num_threads()
    faces._pool[1].shutdown()
    assert len(read) < len(faces) and torch.get_num_threads() == threads


def test_a_set_that_is_reading_can_be_copied_to_another_process(folder):
    faces = load_faces("folder", folder, size=16)
    for workers in (1, 2):
        faces.expect([0, 1])
        (batch,) = DataLoader(faces, sampler=[0, 1], batch_size=2, num_workers=workers)
        assert torch.equal(batch, faces.batch([0, 1]))
    faces.expect([0, 1])
    assert torch.equal(pickle.loads(pickle.dumps(faces)).batch([1]), faces.batch([1]))


def test_faces_that_have_to_be_enlarged_are_told_of_once(tmp_path):
    for number in range(3):
        Image.new("RGB", (24, 40)).save(tmp_path / f"{number}.png")
    assert load_faces("folder", tmp_path, size=24).batch([0, 1, 2]).shape == (3, 3, 24, 24)
    faces = load_faces("folder", tmp_path, size=32)
    with pytest.warns(
        UserWarning, match=r"\.png has a face of 24 px, enlarged to 32: its blur counts as clean"
    ) as told:
        faces.batch([0, 1])
        faces.batch([2])
    assert len(told) == 1


def test_a_folder_can_be_aligned_and_loaded_by_processes(congress_root, tmp_path):
    Image.fromarray(skimage.data.astronaut()).save(tmp_path / "astronaut.png")
    Image.fromarray(skimage.data.coffee()).save(tmp_path / "coffee.png")
    faces = load_faces("folder", tmp_path, size=64, align=True)
    (batch,) = DataLoader(faces, sampler=[0], num_workers=1)
    assert torch.equal(batch[0], faces[0])
    found = faces._detector.detect((faces[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8))[0]
    assert found.landmarks == pytest.approx(template(64), abs=4)
    with pytest.raises(FaceError, match=r"coffee\.png"):
        faces[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "celeba"}, "synthetic, congress, folder"),
        ({"kind": "folder"}, "needs the path"),
        ({"kind": "folder", "path": "/no/such"}, "/no/such"),
        ({"kind": "folder", "path": ".", "split": "test"}, "no split"),
        ({"kind": "congress", "path": "."}, "BFR_LITE_DATA"),
        ({"kind": "congress", "split": "val"}, "train, test, all"),
        ({"kind": "congress", "align": True}, "align"),
        ({"split": "all"}, "train, test"),
        ({"size": 4}, "8 or more"),
        ({"count": 0}, "1 or more"),
        ({"seed": -1}, "seed"),
        ({"truncation": 1.5}, "truncation"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        load_faces(**arguments)


def test_an_empty_folder_and_too_many_faces_are_refused(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        load_faces("folder", tmp_path / "empty")
    with pytest.raises(DataError, match="holds 5 faces"):
        load_faces("folder", folder, count=6)


def test_no_faces_asked_for_are_none(folder, fake_prior):
    for faces in (load_faces("folder", folder, size=8), load_faces("synthetic", size=8)):
        assert faces.batch([]).shape == (0, 3, 8, 8)
