"""The command line: fast help, errors in one line, exit codes, and `degrade`."""

import json
import subprocess
import sys

import pytest
import skimage.data
from PIL import Image

import bfr_lite
from bfr_lite import cli
from bfr_lite.commands import doctor, printable


@pytest.fixture
def photo(tmp_path):
    """A 96 x 80 photo on disk."""
    path = tmp_path / "photo.png"
    Image.fromarray(skimage.data.astronaut()).resize((96, 80)).save(path)
    return path


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


def test_import_and_help_do_without_torch():
    code = (
        "import sys, bfr_lite, bfr_lite.cli\n"
        "bfr_lite.cli.build_parser().format_help()\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_python_dash_m_is_the_command():
    done = subprocess.run([sys.executable, "-m", "bfr_lite", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"bfr-lite {bfr_lite.__version__}"


@pytest.mark.parametrize("name", [name for name in bfr_lite.__all__ if name != "__version__"])
def test_public_names_are_there(name):
    assert getattr(bfr_lite, name) is not None
    assert name in dir(bfr_lite)


def test_unknown_name_says_what_there_is():
    with pytest.raises(AttributeError, match=r"no attribute 'Restore'.*Restorer"):
        _ = bfr_lite.Restore


@pytest.mark.parametrize("command", [module.__name__.rpartition(".")[2] for module in cli.COMMANDS])
def test_help_of_every_command_shows_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        run(command, "--help")
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert f"example:\n  bfr-lite {command}" in out


def test_no_command_is_wrong_use(capsys):
    with pytest.raises(SystemExit) as stop:
        run()
    assert stop.value.code == 2
    assert "usage: bfr-lite" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ValueError("no such thing"), FileNotFoundError("no such thing")])
def test_errors_are_one_line_unless_debugging(error, monkeypatch, capsys):
    def fail(args):
        raise error

    monkeypatch.setattr(doctor, "run", fail)
    assert run("doctor") == 2
    assert capsys.readouterr().err == "bfr-lite: error: no such thing\n"
    for arguments in (["--debug", "doctor"], ["doctor", "--debug"]):
        with pytest.raises(type(error)):
            run(*arguments)


def test_interrupt_is_130(monkeypatch):
    def interrupt(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "run", interrupt)
    assert run("doctor") == 130


def test_a_reader_who_stops_early_is_no_error():
    command = [sys.executable, "-u", "-m", "bfr_lite", "doctor"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        errors = process.stderr.read().decode()
    assert process.returncode == 141 and errors == ""


def test_degrade_keeps_the_size_and_is_reproducible(photo, tmp_path):
    for folder, seed in (("one", 0), ("same", 0), ("other", 1)):
        assert run("degrade", photo, "-o", tmp_path / folder, "--seed", seed) == 0
    written = {folder: (tmp_path / folder / "photo.png").read_bytes() for folder in ("one", "same", "other")}
    assert written["one"] == written["same"] != written["other"]
    assert Image.open(tmp_path / "one" / "photo.png").size == (96, 80)
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["photo.png"]


def test_degrade_goes_on_after_a_bad_picture(photo, tmp_path, capsys):
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    (tmp_path / "notes.txt").write_text("not taken for a picture")
    assert run("degrade", tmp_path, "-o", tmp_path / "out", "--named", "gfpgan", "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert [fact["input"] for fact in report["failed"]] == [str(tmp_path / "broken.jpg")]
    (fact,) = report["written"]
    assert fact["output"] == str(tmp_path / "out" / "photo.png")
    assert 60 <= fact["degradation"]["quality"] <= 100


def test_degrade_lists_bad_pictures_for_people(tmp_path, capsys):
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    assert run("degrade", tmp_path, "-o", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "broken.jpg" in error and "1 of 1 pictures failed" in error


def test_outputs_are_replaced_only_when_told(photo, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("degrade", photo, "-o", out) == 0
    before = (out / "photo.png").read_bytes()
    assert run("degrade", photo, "-o", out, "--seed", 1) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (out / "photo.png").read_bytes() == before
    assert run("degrade", photo, "-o", out, "--seed", 1, "--overwrite") == 0
    assert (out / "photo.png").read_bytes() != before


def test_an_input_is_never_replaced(photo, capsys):
    before = photo.read_bytes()
    assert run("degrade", photo, "-o", photo.parent, "--overwrite") == 2
    assert "would replace the picture it is made from" in capsys.readouterr().err
    assert photo.read_bytes() == before


def test_inputs_that_differ_in_suffix_alone_keep_theirs(photo, tmp_path):
    twin, out = photo.with_suffix(".jpg"), tmp_path / "out"
    Image.open(photo).save(twin)
    assert run("degrade", photo, twin, "-o", out) == 0
    assert sorted(path.name for path in out.iterdir()) == ["photo.jpg.png", "photo.png.png"]


def test_two_inputs_of_one_name_are_refused(photo, tmp_path, capsys):
    twin = tmp_path / "elsewhere" / photo.name
    twin.parent.mkdir()
    Image.open(photo).save(twin)
    assert run("degrade", photo, twin, "-o", tmp_path / "out") == 2
    assert "would both become" in capsys.readouterr().err
    assert run("degrade", photo, photo, "-o", tmp_path / "out") == 0  # one picture named twice is one picture


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--severity", "2"], "severity"), (["--named", "nothing"], "gfpgan, codeformer, diffbir")],
)
def test_wrong_options_of_degrade_are_said_once(photo, tmp_path, options, message, capsys):
    assert run("degrade", photo, "-o", tmp_path / "out", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_missing_and_empty_inputs_are_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "none.png", tmp_path / "empty"):
        assert run("degrade", path, "-o", tmp_path / "out") == 2
        assert str(path) in capsys.readouterr().err


def test_copies_of_a_photo_are_damaged_each_in_its_own_way(photo, tmp_path, capsys):
    copy = photo.with_name("copy.png")
    copy.write_bytes(photo.read_bytes())
    assert run("degrade", photo, copy, "-o", tmp_path / "out", "--json") == 0
    one, two = (fact["degradation"]["seed"] for fact in json.loads(capsys.readouterr().out)["written"])
    assert one != two


def test_what_disks_of_macs_take_for_one_name_is_refused(photo, tmp_path, capsys):
    """From two folders, for one disk cannot hold both."""
    sources = [tmp_path / "one" / "IMG_1.png", tmp_path / "two" / "img_1.png"]
    for source in sources:
        source.parent.mkdir()
        source.write_bytes(photo.read_bytes())
    assert run("degrade", *sources, "-o", tmp_path / "out") == 2
    assert "would both become" in capsys.readouterr().err


def test_a_long_name_in_another_script_can_be_written(photo, tmp_path):
    source = photo.with_name("写" * 80 + ".png")  # 244 bytes; file systems take 255
    source.write_bytes(photo.read_bytes())
    assert run("degrade", source, "-o", tmp_path / "out") == 0


def test_names_of_any_script_are_told_as_they_are():
    name = "Bildschirmfoto\u202f写真\u3000👩\u200d🎨.png"
    assert printable(name) == name
    assert printable("a\x1b[2J\u202egnp.b\nc") == "a�[2J�gnp.b\nc"


def test_a_name_does_not_command_the_terminal(tmp_path, capsys):
    (tmp_path / "\x1b]0;owned\x07.png").write_bytes(b"no picture")
    assert run("degrade", tmp_path / "\x1b]0;owned\x07.png", "-o", tmp_path / "out") == 1
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("seed", ["-1", str(2**63), "one"])
def test_a_seed_that_is_none_is_wrong_use(seed, photo, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        run("degrade", photo, "-o", tmp_path / "out", "--seed", seed)
    assert ended.value.code == 2 and "invalid seed value" in capsys.readouterr().err
