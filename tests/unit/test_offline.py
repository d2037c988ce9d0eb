"""What is promised to work without a network does, here with every connection refused."""

import socket

import pytest
import skimage.data
import torch

import bfr_lite


@pytest.fixture(autouse=True)
def no_network(tmp_path, monkeypatch):
    """Refuse to look up or reach any host; no data folder, an empty cache."""

    def refuse(*args, **kwargs):
        raise OSError("the network is off in this test")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv("BFR_LITE_DATA", raising=False)
    monkeypatch.setenv("BFR_LITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def test_network_is_off():
    with pytest.raises(OSError, match="the network is off"):
        socket.create_connection(("localhost", 9))


def test_astronaut_can_be_degraded():
    photo = torch.from_numpy(skimage.data.astronaut()[:256, 96:352]).permute(2, 0, 1)[None] / 255
    assert bfr_lite.degrade(photo).shape == photo.shape


def test_synthetic_faces_need_nothing():
    faces = bfr_lite.load_faces("synthetic", count=2)
    assert faces.batch([0, 1]).shape == (2, 3, 128, 128)


def test_shipped_restorer_restores():
    restorer = bfr_lite.Restorer.from_pretrained("lite")
    photo = torch.from_numpy(skimage.data.astronaut()[:256, 96:352]).permute(2, 0, 1) / 255
    assert restorer.restore(bfr_lite.degrade(photo[None])[0]).shape == (3, 128, 128)


def test_portraits_that_are_not_here_are_asked_for_by_name():
    with pytest.raises(OSError, match="BFR_LITE_DATA"):
        bfr_lite.load_faces("congress", split="test", size=128)
