"""The identity angle tells people apart."""

import pytest
import torch

from bfr_lite import cli, identity
from bfr_lite.astronaut import astronaut
from bfr_lite.data import load_faces
from bfr_lite.degradation import degrade
from bfr_lite.identity import IdentityAngle


@pytest.fixture(scope="module")
def angle():
    return IdentityAngle()


def test_equal_pictures_have_no_angle(angle):
    faces = astronaut(128).expand(2, -1, -1, -1)
    assert angle(faces, faces).max() < 0.01


def test_a_mirrored_face_is_nearer_than_a_damaged_one_and_that_nearer_than_another_persons(angle):
    photo = astronaut(128)[None]
    mirrored, damaged = angle(photo.flip(3), photo), angle(degrade(photo, 0.3), photo)
    others = angle(load_faces("synthetic", count=4).batch(range(4)), photo.expand(4, -1, -1, -1))
    assert 0 < mirrored < damaged < others.min()


def test_angles_of_a_batch_are_those_of_its_faces(angle):
    photo = astronaut(128)[None]
    damaged = degrade(photo, 0.4)
    together = angle(torch.cat([damaged, photo]), torch.cat([photo, photo]))
    torch.testing.assert_close(together[:1], angle(damaged, photo), atol=0.01, rtol=0)


def test_without_its_packages_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(identity, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"bfr-lite\[benchmark\]"):
        IdentityAngle()
    assert cli.main(["evaluate", "--benchmark", "--count", "1"]) == 2
    assert "bfr-lite[benchmark]" in capsys.readouterr().err
