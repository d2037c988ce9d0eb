"""Faces in zip and tar files are those of the folder; damaged and hostile archives are refused and do no harm."""

import tarfile
import zipfile

import pytest
import torch
from torch.utils.data import DataLoader

from bfr_lite import archives
from bfr_lite.archives import ArchiveError
from bfr_lite.data import load_faces
from bfr_lite.face_sets import DataError
from bfr_lite.images import ImageError, save_image


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "faces").mkdir()
    draw = torch.Generator().manual_seed(0)
    for number in range(4):
        save_image(torch.rand(3, 20, 16, generator=draw), tmp_path / "faces" / f"{number}.png")
    return tmp_path / "faces"


def pack(folder, out, kind):
    if kind == "zip":
        with zipfile.ZipFile(out / "faces.zip", "w") as archive:
            for file in sorted(folder.iterdir(), reverse=True):
                archive.write(file, file.name)
            archive.writestr("notes.json", "{}")
        return out / "faces.zip"
    for shard in (0, 1):
        with tarfile.open(out / f"{shard}.tar", "w") as archive:
            for number in (2 * shard, 2 * shard + 1):
                archive.add(folder / f"{number}.png", f"{number}.png")
    return out / "*.tar"


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("workers", [0, 2])
def test_an_archive_holds_the_faces_of_the_folder(folder, tmp_path, kind, workers):
    faces = load_faces("folder", pack(folder, tmp_path, kind), size=16)
    faces[0]  # opened before the workers are forked
    batch = torch.cat(list(DataLoader(faces, batch_size=1, num_workers=workers)))
    assert torch.equal(batch, load_faces("folder", folder, size=16).batch(range(4)))
    with pytest.raises(DataError, match="holds 4 faces"):
        load_faces("folder", pack(folder, tmp_path, kind), count=5)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_damaged_or_empty_archive_is_named(folder, tmp_path, kind):
    path = pack(folder, tmp_path, kind)
    path = path if kind == "zip" else tmp_path / "0.tar"
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(ArchiveError, match=path.name):
        load_faces("folder", path)
    empty = tmp_path / f"empty.{kind}"
    (zipfile.ZipFile if kind == "zip" else tarfile.open)(empty, "w").close()
    with pytest.raises(ArchiveError, match=r"no pictures in .*empty"):
        load_faces("folder", empty)


@pytest.mark.parametrize("damage", ["cut at the end of a file", "cut in a header", "a byte of a header"])
def test_a_damaged_tar_does_not_pass_for_a_smaller_one(folder, tmp_path, damage):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, file.name)
    with tarfile.open(tmp_path / "a.tar") as archive:
        third = archive.getmembers()[2].offset
    content = bytearray((tmp_path / "a.tar").read_bytes())
    if damage == "a byte of a header":
        content[third + 100] ^= 1
    else:
        del content[third + (200 if damage == "cut in a header" else 0) :]
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(ArchiveError, match=r"a\.tar is cut short or damaged"):
        load_faces("folder", tmp_path / "a.tar")


@pytest.mark.parametrize("name", ["faces.tar.gz", "none.zip", "none.tar", "n*.zip"])
def test_what_is_no_folder_or_archive_is_told_what_would_be(tmp_path, name):
    (tmp_path / "faces.tar.gz").write_bytes(b"packed")
    with pytest.raises(DataError, match=r"unpack a \.tar\.gz"):
        load_faces("folder", tmp_path / name)


def test_hidden_folders_are_left_alone(folder):
    for name in (".ipynb_checkpoints", "more"):
        (folder / name).mkdir()
        save_image(torch.zeros(3, 20, 16), folder / name / "9.png")
    assert load_faces("folder", folder, size=16).names == ["0.png", "1.png", "2.png", "3.png", "more/9.png"]


def test_hostile_archives_do_no_harm(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../out.png", b"no picture")
        archive.writestr("bomb.png", bytes(100_000))
    faces = load_faces("folder", tmp_path / "a.zip")
    with pytest.raises(ImageError, match=r"out.png in .*a.zip"):
        faces[0]
    with pytest.raises(ArchiveError, match=r"bomb.png in .*a.zip unpacks to 100000"):
        faces[1]
    link = tarfile.TarInfo("link.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        archive.addfile(link)
    with pytest.raises(ArchiveError, match="no pictures"):
        load_faces("folder", tmp_path / "b.tar")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.zip", "b.tar"]


def test_a_tar_that_is_gone_is_named(folder, tmp_path):
    faces = load_faces("folder", pack(folder, tmp_path, "tar"), size=16)
    (tmp_path / "0.tar").unlink()
    with pytest.raises(ImageError, match=r"cannot be read any more: .*0\.tar"):
        faces[0]
