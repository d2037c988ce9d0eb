"""`bfr-lite evaluate`: the table for people and for programs, the grid, and errors in one line."""

import json

import pytest
from PIL import Image

from bfr_lite import cli
from bfr_lite.astronaut import astronaut
from bfr_lite.checkpoints import read_card, save_weights
from bfr_lite.data import load_faces
from bfr_lite.images import save_image
from bfr_lite.presets import preset
from bfr_lite.restorer import Restorer

ROWS = [
    "input, pixels repeated", "input, bicubic", "total variation", "non-local means", "Richardson–Lucy",
    "restorer, fidelity 0.5", "restorer, fidelity 1",
]  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small untrained restorer on disk."""
    path = tmp_path_factory.mktemp("weights") / "restorer-tiny.safetensors"
    save_weights(path, Restorer(preset("tiny")), {"preset": "tiny"})
    return path


@pytest.fixture
def portraits(tmp_path):
    """A folder of two pictures."""
    folder = tmp_path / "portraits"
    folder.mkdir()
    save_image(astronaut(64), folder / "a.png")
    save_image(astronaut(64).flip(2), folder / "b.png")
    return folder


def run(*arguments):
    return cli.main(["evaluate", *(str(argument) for argument in arguments)])


def test_the_table_names_rows_metrics_and_how_it_was_made(weights, no_data, capsys):
    assert run("--weights", weights, "--count", 3, "--seed", 7) == 0
    out = capsys.readouterr().out
    assert "| PSNR, dB ↑ | SSIM ↑ | " in out
    for fact in [
        *(f"| {row} |" for row in ROWS),
        "landmark distance (bfr_lite LandmarkNet), px of 512 ↓",
        "- data: synthetic test, 3 faces of 32 px",
        "- degradation: gfpgan",
        "- seed: 7",
        f"- weights: restorer-tiny.safetensors, SHA-256 {read_card(weights)['sha256']}",
        "- classical methods: TotalVariation(weight=",
        "- hardware: ",
    ]:
        assert fact in out


def test_json_has_a_value_for_every_face_and_is_reproducible(weights, portraits, no_data, capsys):
    reports = []
    for _ in range(2):
        assert run("--weights", weights, "--data", portraits, "--degradation", "x4", "--json") == 0
        reports.append(json.loads(capsys.readouterr().out))
    one, two = reports
    assert one["methods"] == two["methods"]
    assert list(one["methods"]) == ROWS
    assert one["faces"] == ["a.png", "b.png"]
    assert len(one["methods"]["input, bicubic"]["PSNR"]["values"]) == 2
    assert one["facts"]["degradation"] == "x4"


def test_a_grid_of_chosen_faces(weights, portraits, no_data, tmp_path, capsys):
    grid = tmp_path / "grid.png"
    options = ("--weights", weights, "--data", portraits, "--degradation", "0.3")
    assert run(*options, "--grid", grid, "--grid-faces", 1, 0, 1, "--json") == 0
    captured = capsys.readouterr()
    json.loads(captured.out)  # nothing else on stdout
    assert f"{grid}: rows are input, pixels repeated | input, bicubic | restorer" in captured.err
    assert "faces 1, 0, 1" in captured.err
    assert Image.open(grid).size == (3 * 34, 5 * 34)
    grid.write_text("a portrait of mine")
    assert run(*options, "--grid", grid) == 2
    assert f"{grid}: there already; add --overwrite" in capsys.readouterr().err
    assert grid.read_text() == "a portrait of mine"


def test_the_benchmark_is_written_once_and_replaced_only_when_told(weights, portraits, no_data, tmp_path, capsys):
    stem = tmp_path / "measured"
    options = ("--weights", weights, "--data", portraits, "--benchmark", "--output", stem)
    assert run(*options, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "measured.json").read_text())
    assert list(printed["conditions"]) == ["mild", "medium", "severe", "x4", "x8"]  # of a network of 32 px
    assert "identity angle (dlib ResNet-29)" in printed["conditions"]["mild"]["metrics"]
    text = (tmp_path / "measured.md").read_text()
    assert "### All conditions" in text and "- data: " in text and "- command: bfr-lite" in text
    assert run(*options) == 2
    assert "add --overwrite" in capsys.readouterr().err
    (tmp_path / "measured.md").write_text("old")
    assert run(*options, "--overwrite") == 0
    again = json.loads((tmp_path / "measured.json").read_text())
    assert again["conditions"] == printed["conditions"]
    assert "### All conditions" in (tmp_path / "measured.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--benchmark", "--grid", "grid.png"], "leave it out, or --grid and --degradation"),
        (["--benchmark", "--degradation", "x4"], "leave it out, or --grid and --degradation"),
        (["--grid-faces", "0"], "--grid-faces chooses the faces of --grid"),
        (["--output", "nowhere/table"], "nowhere is no folder"),
        (["--grid", "nowhere/grid.png"], "nowhere is no folder: make it, or name another --grid"),
        (["--degradation", "dust"], "gfpgan, codeformer, diffbir"),
        (["--degradation", "x99"], "scale must be from 2 to 16"),
        (["--degradation", "1.5"], "severity must lie in"),
        (["--data", "nowhere"], "folder"),
        (["--count", "0"], "count"),
        (["--weights", "nothing"], "no restorer weights for preset 'nothing'"),
        (["--grid", "grid.xyz"], "suffix"),
        (["--grid", "grid.png", "--grid-faces", "2000"], "from 0 to 1"),
    ],
)
def test_wrong_options_are_said_in_one_line(weights, options, message, no_data, capsys):
    given = options if "--weights" in options else ["--weights", weights, "--count", 2, *options]
    assert run(*given) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.strip().splitlines()) == 1


def test_classical_methods_are_tuned_on_other_faces_than_those_of_the_test(weights, no_data, monkeypatch):
    splits = []

    def noted(kind, *arguments, split=None, **options):
        splits.append(split)
        return load_faces(kind, *arguments, split=split, **options)

    monkeypatch.setattr("bfr_lite.data.load_faces", noted)
    assert run("--weights", weights, "--data", "synthetic", "--split", "test", "--count", 2) == 0
    assert splits == ["test", "train"]
