"""`bfr-lite train`: what a run leaves behind, how it goes on after a stop, and how it refuses what cannot work."""

import csv
import json
import shutil
import signal
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from bfr_lite import cli
from bfr_lite.checkpoints import load_discriminator, load_generator, read_card
from bfr_lite.commands.train import SIGNALS
from bfr_lite.images import save_image
from bfr_lite.restorer import Restorer
from bfr_lite.training.recipes import Stage, default_stages
from bfr_lite.training.restorer import RestorerTask


def run(*arguments) -> int:
    return cli.main([str(argument) for argument in arguments])


def train_prior(faces, out, *options) -> int:
    return run("train", "prior", "--preset", "tiny", "--data", faces, "--batch", 4, "-o", out, *options)


def train_restorer(faces, out, *options) -> int:
    return run("train", "restorer", "--preset", "tiny", "--data", faces, "--batch", 4, "-o", out, *options)


def rows(folder) -> list[dict[str, str]]:
    with (folder / "log.csv").open() as log:
        return list(csv.DictReader(log))


def files(folder) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """A folder of six generated pictures, fewer than a grid of samples has columns."""
    folder = tmp_path_factory.mktemp("faces")
    coarse = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    for number, picture in enumerate(torch.nn.functional.interpolate(coarse, (40, 32), mode="bilinear")):
        save_image(picture, folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def prior(faces, tmp_path_factory):
    """The folder of a finished run: a prior of two stages."""
    folder = tmp_path_factory.mktemp("prior")
    assert train_prior(faces, folder, "--stages", "16:8", "32:4") == 0
    return folder


def test_prior_leaves_runs_weights_and_cards(prior):
    run_files = ["checkpoint.pt", "log.csv"]
    assert files(prior) == sorted(
        [f"016/{name}" for name in (*run_files, "samples/00000008.png")]
        + [f"032/{name}" for name in (*run_files, "samples/00000004.png")]
        + [f"{kind}-tiny.{suffix}" for kind in ("prior", "discriminator") for suffix in ("json", "safetensors")]
    )
    assert rows(prior / "016")[-1]["images"] == "8" and rows(prior / "032")[-1]["images"] == "4"
    card = read_card(prior / "prior-tiny.safetensors")
    assert (card["kind"], card["preset"], card["batch"], card["processes"]) == ("prior", "tiny", 4, 1)
    assert "6 faces of 32 px" in card["data"]
    assert [(stage["size"], stage["images_seen"]) for stage in card["training"]["stages"]] == [(16, 8), (32, 4)]
    assert load_generator(prior / "prior-tiny.safetensors").size == 32
    assert load_discriminator(prior / "prior-tiny.safetensors") is not None


def test_critics_switched_off_are_in_neither_log_nor_card(faces, prior, tmp_path):
    assert train_prior(faces, tmp_path, "--stages", "32:4", "--without", "critics") == 0
    judged = {"loss_critics", "displeasure"}
    assert judged <= set(rows(prior / "032")[0]) and not judged & set(rows(tmp_path / "032")[0])
    weights = [read_card(folder / "prior-tiny.safetensors")["training"]["critics"] for folder in (prior, tmp_path)]
    assert weights == [1.0, 0.0]


def test_json_names_what_was_written(faces, prior, capsys):
    """The finished run is found again, and nothing is trained."""
    before = (prior / "prior-tiny.safetensors").read_bytes()
    assert train_prior(faces, prior, "--stages", "16:8", "32:4", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    weights = [str(prior / f"{kind}-tiny.safetensors") for kind in ("prior", "discriminator")]
    assert report == {"steps": 1, "images": 4, "finished": True, "weights": weights}
    assert (prior / "prior-tiny.safetensors").read_bytes() == before


@pytest.mark.parametrize("source", ["prior-tiny.safetensors", "032/checkpoint.pt"])
def test_restorer_starts_from_a_prior_of_ones_own(faces, prior, source, tmp_path, capsys):
    assert train_restorer(faces, tmp_path, "--prior", prior / source, "--images", 8) == 0
    assert "8 pictures in 2 steps" in capsys.readouterr().out
    assert files(tmp_path) == [
        "checkpoint.pt", "log.csv", "restorer-tiny.json", "restorer-tiny.safetensors", "samples/00000008.png",
    ]  # fmt: skip
    signals = {"pixel", *SIGNALS}
    assert signals | {"step", "images", "seconds", "loss_d", "sign_real", "augment_p", "r1"} == set(rows(tmp_path)[0])
    restorer = Restorer.from_pretrained(tmp_path / "restorer-tiny.safetensors")
    assert restorer.restore(torch.rand(3, 32, 32)).shape == (3, 32, 32)
    training = read_card(tmp_path / "restorer-tiny.safetensors")["training"]
    assert training["prior"] == str(prior / source) and training["images_seen"] == 8


def test_signals_switched_off_are_in_neither_log_nor_card(faces, prior, tmp_path):
    options = [option for signal_name in SIGNALS for option in ("--without", signal_name)]
    assert train_restorer(faces, tmp_path, "--prior", prior / "prior-tiny.safetensors", "--images", 4, *options) == 0
    assert list(rows(tmp_path)[0]) == ["step", "images", "seconds", "pixel"]
    weights = read_card(tmp_path / "restorer-tiny.safetensors")["training"]["weights"]
    assert {name for name, weight in weights.items() if weight} == {"pixel"}


def test_faces_of_the_prior_can_be_mixed_in(faces, prior, tmp_path):
    options = ("--prior", prior / "prior-tiny.safetensors", "--images", 4)
    for name, more, share in (("plain", (), 0), ("mixed", ("--mixed-in", 0.25), 0.25)):
        assert train_restorer(faces, tmp_path / name, *options, *more) == 0
        card = read_card(tmp_path / name / "restorer-tiny.safetensors")
        assert card["training"]["mixed_in"] == share
    assert rows(tmp_path / "plain")[0]["pixel"] != rows(tmp_path / "mixed")[0]["pixel"]


def test_restorer_from_scratch_has_no_latent_pairs(faces, tmp_path):
    assert train_restorer(faces, tmp_path, "--prior", "none", "--images", 4) == 0
    assert "latent" not in rows(tmp_path)[0] and "teacher" in rows(tmp_path)[0]


def test_the_same_command_goes_on_after_a_stop(faces, tmp_path, monkeypatch, capsys):
    """Ctrl-C in the second of four steps; then the same command; then as if nothing had happened."""
    options = ("--prior", "none", "--images", 16)
    assert train_restorer(faces, tmp_path / "whole", *options) == 0
    step = RestorerTask.step

    def interrupted(task, number, indices, rng):
        if number == 1:
            signal.raise_signal(signal.SIGINT)
        return step(task, number, indices, rng)

    with monkeypatch.context() as patch:
        patch.setattr(RestorerTask, "step", interrupted)
        assert train_restorer(faces, tmp_path / "parts", *options, "--json") == 1
    captured = capsys.readouterr()
    assert "the same command goes on" in captured.err
    report = json.loads(captured.out.splitlines()[-1])
    assert (report["steps"], report["finished"]) == (2, False)
    assert train_restorer(faces, tmp_path / "parts", *options) == 0
    whole, parts = ((tmp_path / name / "restorer-tiny.safetensors").read_bytes() for name in ("whole", "parts"))
    assert whole == parts
    assert rows(tmp_path / "parts")[-1]["step"] == "4"


def test_a_finished_run_goes_on_when_more_pictures_are_asked_for(faces, tmp_path):
    stages = ("16:4", "32:4"), ("16:4", "32:8")
    assert train_prior(faces, tmp_path, "--stages", *stages[0]) == 0
    assert train_prior(faces, tmp_path, "--stages", *stages[1]) == 0
    assert [row["images"] for row in rows(tmp_path / "032")] == ["4", "8"]
    assert [row["images"] for row in rows(tmp_path / "016")] == ["4"]


def test_options_reach_the_card(faces, tmp_path):
    assert train_restorer(faces, tmp_path, "--prior", "none", "--images", 4, "--lr", 0.002, "--seed", 7) == 0
    training = read_card(tmp_path / "restorer-tiny.safetensors")["training"]
    assert (training["lr"], training["seed"]) == (0.002, 7)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (["32"], "stage '32' is not SIZE:IMAGES"),
        (["32:many"], "stage '32:many' is not SIZE:IMAGES"),
        (["16:4"], "must double to 32 px, got [16]"),
        (["32:4", "16:4"], "must double to 32 px, got [32, 16]"),
        (["8:4", "32:4"], "must double to 32 px, got [8, 32]"),
        (["24:4", "32:4"], "must double to 32 px, got [24, 32]"),
    ],
)
def test_bad_stages_are_refused_in_one_line(faces, tmp_path, stages, message, capsys):
    assert train_prior(faces, tmp_path / "out", "--stages", *stages) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("network", ["prior", "restorer"])
def test_an_unknown_preset_is_refused(network, faces, tmp_path, capsys):
    assert run("train", network, "--preset", "huge", "--data", faces, "-o", tmp_path / "out") == 2
    assert "unknown preset 'huge': use one of tiny, lite, full" in capsys.readouterr().err


def test_a_prior_of_another_preset_is_refused(faces, tmp_path, capsys):
    assert train_restorer(faces, tmp_path / "out", "--prior", "lite", "--images", 4) == 2
    assert "Is it of another preset?" in capsys.readouterr().err


@pytest.mark.parametrize("data", ["nowhere", "empty"])
def test_a_folder_without_pictures_is_refused(data, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert train_restorer(tmp_path / data, tmp_path / "out", "--prior", "none") == 2
    assert str(tmp_path / data) in capsys.readouterr().err


def test_an_unknown_signal_is_wrong_use(faces, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        train_restorer(faces, tmp_path / "out", "--without", "luck")
    assert stop.value.code == 2
    assert "redegradation" in capsys.readouterr().err


def test_training_starts_from_given_weights(faces, prior, tmp_path, capsys):
    start = prior / "prior-tiny.safetensors"
    assert train_prior(faces, tmp_path / "mine", "--stages", "32:4", "--start", start) == 0
    assert read_card(tmp_path / "mine" / "prior-tiny.safetensors")["training"]["start"] == str(start)
    assert train_prior(faces, tmp_path / "small", "--stages", "16:4", "32:4", "--start", start) == 2
    assert "does not fit this network" in capsys.readouterr().err


def test_weights_of_a_run_without_its_checkpoint_are_kept(faces, tmp_path, capsys):
    assert train_restorer(faces, tmp_path, "--prior", "none", "--images", 4) == 0
    weights, log = tmp_path / "restorer-tiny.safetensors", tmp_path / "log.csv"
    before = weights.read_bytes(), log.read_bytes()
    (tmp_path / "checkpoint.pt").unlink()
    capsys.readouterr()
    assert train_restorer(faces, tmp_path, "--start", weights, "--prior", "none", "--images", 4) == 2
    assert "is of a run without a checkpoint: name another folder" in capsys.readouterr().err
    assert (weights.read_bytes(), log.read_bytes()) == before


def test_a_run_does_not_go_on_with_another_number_of_faces(faces, tmp_path, capsys):
    more = tmp_path / "more"
    shutil.copytree(faces, more)
    shutil.copy(more / "0.png", more / "6.png")
    assert train_restorer(faces, tmp_path / "run", "--prior", "none", "--images", 4) == 0
    assert train_restorer(more, tmp_path / "run", "--prior", "none", "--images", 8) == 2
    assert "is of a run with faces 6" in capsys.readouterr().err


def test_the_prior_is_by_default_the_presets_own(faces, tmp_path):
    assert train_restorer(faces, tmp_path, "--images", 4) == 0
    assert read_card(tmp_path / "restorer-tiny.safetensors")["training"]["prior"] == "tiny"


class Asked(ValueError):
    """In place of a run: what it was asked for."""


@pytest.fixture
def asked(monkeypatch):
    """What the last command would have trained: a dictionary, and no work."""
    seen = {}

    @contextmanager
    def accelerated(precision):
        seen["precision"] = precision
        yield SimpleNamespace(is_main_process=True)

    def recorded(*arguments):
        seen["arguments"] = arguments
        raise Asked("noted")

    monkeypatch.setattr("sys.argv", ["bfr-lite", "train", "something"])
    monkeypatch.setattr("bfr_lite.training.processes.accelerated", accelerated)
    for name in ("train_prior", "train_restorer"):
        monkeypatch.setattr(f"bfr_lite.training.recipes.{name}", recorded)
    return seen


RUN_OPTIONS = [
    "--cooldown",
    0.3,
    "--seed",
    7,
    "--checkpoint-every",
    9,
    "--sample-every",
    11,
    "--gradient-checkpointing",
]


def check_run_config(run_config, folder):
    assert (run_config.folder, run_config.batch, run_config.seed) == (folder, 4, 7)
    assert (run_config.cooldown, run_config.checkpoint_every, run_config.sample_every) == (0.3, 9, 11)
    assert run_config.gradient_checkpointing


def test_every_option_of_a_restorer_reaches_its_training(asked, faces, tmp_path):
    options = ["--generator-lr", 0.01, "--adversarial-after", 5, "--lr", 0.02, "--precision", "bf16", "--images", 3]
    assert train_restorer(faces, tmp_path, *options, *RUN_OPTIONS, "--start", "s", "--prior", "p") == 2
    config, prior, data, run_config, _, start, command = asked["arguments"]
    assert (config.generator_lr, config.adversarial_after, config.lr, config.seed) == (0.01, 5, 0.02, 7)
    assert (prior, start, len(data), asked["precision"]) == (
        "p",
        "s",
        6,
        "bf16",
    ) and command == "bfr-lite train something"
    assert run_config.images == 3
    check_run_config(run_config, tmp_path)


def test_every_option_of_a_prior_reaches_its_training(asked, faces, tmp_path):
    assert train_prior(faces, tmp_path, "--r1-gamma", 0.5, "--lr", 0.02, *RUN_OPTIONS, "--start", "s") == 2
    chosen, config, stages, data, run_config, _, start, command = asked["arguments"]
    assert (chosen.name, config.r1_gamma, config.lr, config.seed) == ("tiny", 0.5, 0.02, 7)
    assert (start, len(data), asked["precision"]) == ("s", 6, "no") and command == "bfr-lite train something"
    assert stages == [Stage(32, 100_000)]
    check_run_config(run_config, tmp_path)


def test_stages_are_by_default_all_sizes_up_to_the_presets():
    assert default_stages(128, 5) == [Stage(32, 5), Stage(64, 5), Stage(128, 5)]
