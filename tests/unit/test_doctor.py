"""The doctor sees what is missing or damaged, says what would help, and fails only for what is needed."""

import hashlib
import json
import sys

import pytest
from packaging.requirements import Requirement

from bfr_lite import cli, doctor, lpips_import
from bfr_lite.checkpoints import shipped_names
from bfr_lite.download import YUNET_NAME
from bfr_lite.lpips_import import import_lpips


@pytest.fixture
def nothing_here(tmp_path, monkeypatch):
    """No data folder, an empty cache."""
    monkeypatch.delenv("BFR_LITE_DATA", raising=False)
    monkeypatch.setenv("BFR_LITE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def write_weights(folder, content=b"weights"):
    (folder / "prior-lite.safetensors").write_bytes(content)
    card = {"sha256": hashlib.sha256(b"weights").hexdigest()}
    (folder / "prior-lite.json").write_text(json.dumps(card))


def test_python_and_packages_are_fine_here():
    assert doctor.check_python().status == doctor.OK
    checks = list(doctor.check_packages())
    assert {"torch", "lpips", "jupyterlab"} <= {check.name for check in checks}
    assert [check for check in checks if check.status == doctor.FAIL] == []


@pytest.mark.parametrize(
    ("requirement", "status", "words"),
    [
        ("no-such-package>=1", doctor.FAIL, "not installed"),
        ('no-such-package>=1 ; extra == "notebooks"', doctor.ABSENT, "for the extra notebooks alone"),
        ("numpy>=999", doctor.FAIL, "but >=999 is needed"),
        ('numpy>=999 ; extra == "bench"', doctor.ABSENT, "but >=999 is needed"),
        ("numpy>=1", doctor.OK, ""),
    ],
)
def test_package(requirement, status, words):
    check = doctor.check_package(Requirement(requirement))
    assert check.status == status and words in check.detail


def test_package_that_breaks_on_import(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)  # makes `import tqdm` an ImportError
    check = doctor.check_package(Requirement("tqdm>=1"))
    assert check.status == doctor.FAIL and "cannot be imported" in check.detail


def test_machine_without_gpu_is_no_failure():
    checks = [*doctor.check_processors(), doctor.check_memory()]
    assert [check.name for check in checks] == ["cpu", "gpu", "memory"]
    assert checks[1].status in (doctor.OK, doctor.ABSENT)


def test_weights(tmp_path):
    assert "missing" in doctor.check_weights("prior-lite", tmp_path).detail
    write_weights(tmp_path)
    assert doctor.check_weights("prior-lite", tmp_path).status == doctor.OK
    write_weights(tmp_path, b"weight")
    damaged = doctor.check_weights("prior-lite", tmp_path)
    assert damaged.status == doctor.FAIL and "damaged" in damaged.detail


@pytest.mark.parametrize("card", ["{}", "no JSON"])
def test_weights_with_an_unusable_card(tmp_path, card):
    write_weights(tmp_path)
    (tmp_path / "prior-lite.json").write_text(card)
    assert doctor.check_weights("prior-lite", tmp_path).status == doctor.FAIL


def test_absent_data_is_no_failure_and_says_what_would_provide_it(nothing_here):
    checks = [doctor.check_data_folder(), doctor.check_portraits(), doctor.check_detector()]
    assert [check.status for check in checks] == [doctor.ABSENT] * 3
    assert "fetches them" in checks[1].detail and YUNET_NAME in checks[2].detail


def test_data_folder_is_looked_into(nothing_here, monkeypatch):
    portraits = nothing_here / "faces" / "congress"
    portraits.mkdir(parents=True)
    (portraits / "A000014.jpg").touch()
    monkeypatch.setenv("BFR_LITE_DATA", str(nothing_here))
    assert doctor.check_data_folder().status == doctor.OK
    found = doctor.check_portraits()
    assert found.status == doctor.ABSENT and found.detail.startswith("1 of 782 in"), "a download that was cut short"


def test_wrong_data_folder_is_a_failure(nothing_here, monkeypatch):
    monkeypatch.setenv("BFR_LITE_DATA", str(nothing_here / "nowhere"))
    assert doctor.check_data_folder().status == doctor.FAIL
    assert doctor.check_portraits().status == doctor.ABSENT


def test_damaged_detector_is_a_failure(nothing_here):
    models = nothing_here / "cache" / "models"
    models.mkdir(parents=True)
    (models / YUNET_NAME).write_bytes(b"half a download")
    assert doctor.check_detector().status == doctor.FAIL


def test_lpips_backbone(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert doctor.check_lpips_backbone().status == doctor.ABSENT
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / lpips_import.BACKBONE).write_bytes(b"cut short")
    assert doctor.check_lpips_backbone().status == doctor.ABSENT
    name = f"alexnet-owt-{hashlib.sha256(b'whole').hexdigest()[:8]}.pth"
    monkeypatch.setattr(lpips_import, "BACKBONE", name)
    (tmp_path / "hub" / "checkpoints" / name).write_bytes(b"whole")
    assert doctor.check_lpips_backbone().status == doctor.OK


@pytest.mark.parametrize(("status", "code"), [(doctor.OK, 0), (doctor.ABSENT, 0), (doctor.FAIL, 1)])
def test_command(status, code, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda: iter([doctor.Check("thing", status, "as seen")]))
    assert cli.main(["doctor"]) == code
    assert capsys.readouterr().out == f"{status:<6} thing: as seen\n"
    assert cli.main(["doctor", "--json"]) == code
    report = json.loads(capsys.readouterr().out)
    assert report == {
        "ok": code == 0,
        "checks": [{"name": "thing", "status": status, "detail": "as seen"}],
    }


def test_lpips_can_be_imported_and_measures():
    import torch

    lpips = import_lpips()
    assert import_lpips() is lpips
    metric = lpips.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False)
    image = torch.full((1, 3, 64, 64), 0.5)
    assert metric(image, image).item() == 0


def test_other_failures_of_lpips_are_not_hidden(monkeypatch):
    def fail(name):
        raise RuntimeError("something else")

    monkeypatch.setattr("bfr_lite.lpips_import.importlib.import_module", fail)
    with pytest.raises(RuntimeError, match="something else"):
        import_lpips()


def test_all_weights_are_looked_at():
    assert sorted(doctor.WEIGHTS) == shipped_names()
    assert set(doctor.WEIGHTS) <= {check.name for check in doctor.examine()}


def test_what_cannot_be_looked_at_is_a_failed_check(monkeypatch):
    def unreadable(*_):
        raise PermissionError("not yours")

    for name in ("check_weights", "check_data_folder", "check_portraits", "check_detector", "check_lpips_backbone"):
        monkeypatch.setattr(doctor, name, unreadable)
    checks = [check for check in doctor.examine() if check.detail == "could not be checked: not yours"]
    assert len(checks) == len(doctor.WEIGHTS) + 4 and all(check.status == doctor.FAIL for check in checks)
