"""Downloads arrive whole or not at all, and what is missing is explained."""

import hashlib
import http.server
import os
import threading

import pytest

from bfr_lite import download
from bfr_lite.congress import aligned_portraits, portrait_folder, portraits
from bfr_lite.download import DamagedFileError, MissingFileError

FILES = {f"{name}.jpg": name.encode() * 5000 for name in "abc"}
SHA256 = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` at 127.0.0.1; of those in `cuts` it sends half, as often as the number says."""

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cuts, self.asked = dict(files), {}, []
        self.url = f"http://127.0.0.1:{self.server_port}/"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.lstrip("/")
        self.server.asked.append(name)
        if name not in self.server.files:
            self.send_error(404)
            return
        content = self.server.files[name]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.server.cuts.get(name, 0) > 0:
            self.server.cuts[name] -= 1
            content = content[: len(content) // 2]
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server(FILES) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def one_try(monkeypatch):
    monkeypatch.setattr(download, "RETRIES", 0)
    monkeypatch.setattr(download, "WORKERS", 1)


def content_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_whole(folder, without):
    """Nothing half-written, and nothing of the file `without`."""
    assert content_of(folder).items() <= FILES.items()
    assert without not in content_of(folder)


def test_fetch_brings_every_file_and_asks_for_none_twice(server, tmp_path):
    download.fetch(server.url, SHA256, tmp_path, "letters")
    assert content_of(tmp_path) == FILES
    if os.name == "posix":
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}, "a group may share the cache"
    download.fetch(server.url, SHA256, tmp_path, "letters")
    assert sorted(server.asked) == sorted(FILES)


def test_a_cut_connection_is_tried_again(server, tmp_path):
    server.cuts["b.jpg"] = 1
    download.fetch(server.url, SHA256, tmp_path, "letters")
    assert content_of(tmp_path) == FILES
    assert server.asked.count("b.jpg") == 2


def test_after_a_cut_a_later_call_goes_on(server, tmp_path, one_try):
    server.cuts["b.jpg"] = 1
    with pytest.raises(MissingFileError, match=r"could not fetch .*/b\.jpg"):
        download.fetch(server.url, SHA256, tmp_path, "letters")
    assert_whole(tmp_path, without="b.jpg")
    download.fetch(server.url, SHA256, tmp_path, "letters")
    assert content_of(tmp_path) == FILES
    assert server.asked.count("a.jpg") == 1


def test_a_cache_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(download.MissingFileError, match=r"cannot keep letters in .*file"):
        download.fetch(server.url, SHA256, tmp_path / "file" / "cache", "letters")


def test_a_wrong_hash_leaves_nothing_of_the_file(server, tmp_path, one_try):
    server.files["a.jpg"] = b"something else"
    with pytest.raises(MissingFileError, match="SHA256 hash"):
        download.fetch(server.url, SHA256, tmp_path, "letters")
    assert_whole(tmp_path, without="a.jpg")


def test_a_missing_page_leaves_nothing_of_the_file(server, tmp_path, one_try):
    del server.files["a.jpg"]
    with pytest.raises(MissingFileError, match="404"):
        download.fetch(server.url, SHA256, tmp_path, "letters")
    assert_whole(tmp_path, without="a.jpg")


def test_a_damaged_file_is_fetched_again(server, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"half")
    download.fetch(server.url, SHA256, tmp_path, "letters")
    assert content_of(tmp_path) == FILES


def test_portraits_come_from_the_server_when_there_is_no_data_folder(server, no_data, congress_root):
    wanted = portraits("test")[:3]
    faces = congress_root / "faces" / "congress"
    server.files = {portrait.file: (faces / portrait.file).read_bytes() for portrait in wanted}
    folder = portrait_folder(wanted, server.url)
    assert folder == no_data / "congress"
    assert content_of(folder) == server.files


def test_without_a_network_the_ways_to_the_portraits_are_named(server, no_data, one_try):
    with pytest.raises(MissingFileError) as caught:
        aligned_portraits("test", 32, base_url=server.url)
    for way in ("network", "BFR_LITE_DATA", 'load_faces("synthetic")', str(no_data)):
        assert way in str(caught.value)
    assert not list(no_data.rglob("*.*"))


def test_without_a_network_the_ways_to_the_detector_are_named(server, no_data, one_try, monkeypatch):
    monkeypatch.setattr(download, "YUNET_URL", server.url)
    with pytest.raises(FileNotFoundError) as caught:
        download.yunet_path()
    for way in (download.YUNET_NAME, "network", "BFR_LITE_DATA", "FaceDetector('<path>')"):
        assert way in str(caught.value)


def test_a_damaged_detector_is_named(no_data, tmp_path, monkeypatch):
    path = tmp_path / "models" / download.YUNET_NAME
    path.parent.mkdir()
    path.write_bytes(b"half")
    monkeypatch.setenv("BFR_LITE_DATA", str(tmp_path))
    with pytest.raises(DamagedFileError, match="yunet"):
        download.yunet_path()


def test_a_data_folder_that_is_none_is_refused(no_data, monkeypatch):
    monkeypatch.setenv("BFR_LITE_DATA", "/no/such/folder")
    with pytest.raises(MissingFileError, match="/no/such/folder"):
        download.data_dir()


def test_write_atomic_leaves_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "sub" / "file"
    download.write_atomic(path, b"old")
    with pytest.raises(TypeError):
        download.write_atomic(path, "not bytes")
    assert content_of(path.parent) == {"file": b"old"}
