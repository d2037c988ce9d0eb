"""The fixed benchmark: its damage, its strata, its tables."""

import json
import math
from pathlib import Path

import pytest
import torch

from bfr_lite.benchmark import BASELINE, SEVERITIES, Benchmark, conditions, run_benchmark, strata
from bfr_lite.data import load_faces
from bfr_lite.evaluation import Table
from bfr_lite.metrics import PSNR, SSIM
from bfr_lite.presets import preset
from bfr_lite.restorer import Restorer


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_six_conditions_and_fewer_for_small_pictures():
    assert list(conditions(128)) == ["mild", "medium", "severe", "x4", "x8", "x16"]
    assert list(conditions(32)) == ["mild", "medium", "severe", "x4", "x8"]


@pytest.mark.parametrize("name", SEVERITIES)
def test_damage_is_from_the_grid_and_every_value_is_met(name):
    grid, params = SEVERITIES[name], conditions(128)[name].sample(400, rng())
    assert set(params.down.tolist()) == set(grid.down)
    assert set(params.noise.tolist()) == set(grid.noise)
    assert set(params.quality.tolist()) == set(grid.jpeg)
    assert set((params.sigma_x * 4).tolist()) == set(grid.blur)
    ratios = (params.sigma_y / params.sigma_x).unique().tolist()
    assert ratios == [0.5, 1.0]
    assert len(params.angle.unique()) == 4 and not params.grey.any() and not params.shift.any()


def test_the_same_face_meets_the_same_damage():
    one = conditions(64)["medium"]
    few, many = one.sample(3, rng()), one.sample(9, rng())
    faces = torch.rand(3, 3, 64, 64, generator=rng(1))
    assert torch.equal(one.apply(faces, few), one.apply(faces, many[:3]))


def test_severities_are_in_order():
    faces = load_faces("synthetic", count=4, size=128).batch(range(4))
    errors = [(one.apply(faces, one.sample(4, rng())) - faces).square().mean() for one in conditions(128).values()]
    assert errors[0] < errors[1] < errors[2] and errors[3] < errors[4] < errors[5]


class WithLandmarks:
    """Nine faces that turn more and smile less, one after the other."""

    landmarks = torch.tensor([[[0, 0], [10, 0], [5, 5], [1 + k / 4, 9], [9 - k / 4, 9]] for k in range(9)]).float()
    yaw = torch.arange(9.0) * torch.tensor([1, -1]).repeat(5)[:9]


def test_strata_are_thirds():
    kinds = strata(WithLandmarks())
    assert [int(mask.sum()) for mask in kinds.values()] == [3] * 6
    assert kinds["|yaw| over 5°"].tolist() == [False] * 6 + [True] * 3
    assert kinds["mouth width over 0.67"].tolist() == [True] * 3 + [False] * 6
    assert strata(load_faces("synthetic", count=2, size=32)) == {}


def made() -> Benchmark:
    """Two conditions, three faces, two rows."""
    before = torch.tensor([[20.0, 0.5], [22.0, 0.5], [24.0, 0.5]])
    after = torch.tensor([[21.0, 0.6], [23.0, 0.6], [27.0, 0.6]])
    rows = {
        name: {"input, bicubic": before + k, "restorer, fidelity 1": after + k} for k, name in ((0, "mild"), (1, "x4"))
    }
    tables = {name: Table(("a", "b", "c"), (PSNR, SSIM), one) for name, one in rows.items()}
    return Benchmark(tables, {"turned": torch.tensor([False, False, True])}, {"seed": 0})


def test_faces_are_averaged_over_conditions():
    table = made().table()
    assert table.values("input, bicubic", "PSNR").tolist() == [20.5, 22.5, 24.5]
    assert made().table(["x4"], "turned").values("restorer, fidelity 1", "PSNR").tolist() == [28.0]
    assert made().table(stratum="turned").faces == ("c",)


def test_changes_are_against_the_bicubic_input():
    changes = made().changes("restorer, fidelity 1", names=["mild"])
    assert {name: change.split(" [")[0] for name, change in changes.items()} == {"PSNR": "+1.67 dB", "SSIM": "+20.0 %"}
    assert made().changes("restorer, fidelity 1", "turned")["PSNR"] == "+3.00 dB [+3.00, +3.00]"  # one face


def test_intervals_of_changes_are_those_of_paired_faces():
    """Faces differ much, and what is gained on each does not: the interval of the gain is narrow."""
    before = torch.linspace(10, 40, 30)[:, None].expand(-1, 2)
    rows = {
        "input, bicubic": before,
        "restorer, fidelity 1": torch.stack([before[:, 0] + 1, before[:, 1] * 1.1], dim=1),
    }
    table = Table(tuple(map(str, range(30))), (PSNR, SSIM), rows)
    changes = Benchmark({"mild": table}, {}).changes("restorer, fidelity 1")
    assert changes == {"PSNR": "+1.00 dB [+1.00, +1.00]", "SSIM": "+10.0 % [+10.0, +10.0]"}


def test_a_face_that_could_not_be_measured_says_nothing_of_the_change():
    rows = {
        "input, bicubic": torch.tensor([[10.0, 0.5], [20, 0.5], [30, 0.5]]),
        "restorer, fidelity 1": torch.tensor([[11.0, 0.5], [21, 0.5], [math.nan, 0.5]]),
    }
    changes = Benchmark({"mild": Table(("a", "b", "c"), (PSNR, SSIM), rows)}, {}).changes("restorer, fidelity 1")
    assert changes["PSNR"] == "+1.00 dB [+1.00, +1.00]"


def test_markdown_and_json_hold_everything():
    text, data = made().markdown(), made().as_dict()
    for part in (
        "### All conditions",
        "### mild",
        "### x4",
        "### restorer, fidelity 1",
        "| turned (1 faces) | +3.00 dB",
    ):
        assert part in text
    assert json.loads(json.dumps(data, allow_nan=False))["strata"] == {"turned": [False, False, True]}
    assert list(data["conditions"]) == ["mild", "x4"]


def test_json_can_be_read_again():
    again = Benchmark.from_dict(json.loads(json.dumps(made().as_dict())))
    assert again.markdown() == made().markdown() and again.facts == {"seed": 0}
    assert again.strata["turned"].tolist() == [False, False, True]


@pytest.mark.parametrize("content", [{}, {"conditions": {"mild": {}}}, [1]], ids=["empty", "no table", "list"])
def test_json_of_something_else_is_refused(content):
    with pytest.raises(ValueError, match="no result of the benchmark"):
        Benchmark.from_dict(content)


def test_a_run_is_reproducible():
    restorer, faces = Restorer(preset("tiny")).eval(), load_faces("synthetic", count=2, size=32)
    one, two = (run_benchmark(restorer, faces, (PSNR,), fidelities=(1.0,)).as_dict() for _ in range(2))
    assert one == two
    assert list(one["conditions"]["x8"]["methods"]) == [
        "input, pixels repeated",
        "input, bicubic",
        "restorer, fidelity 1",
    ]


def test_another_seed_is_another_damage():
    restorer, faces = Restorer(preset("tiny")).eval(), load_faces("synthetic", count=2, size=32)
    one, two = (run_benchmark(restorer, faces, (PSNR,), fidelities=(1.0,), seed=seed) for seed in (0, 1))
    assert not torch.equal(one.tables["mild"].values(BASELINE, "PSNR"), two.tables["mild"].values(BASELINE, "PSNR"))


def test_the_grids_are_those_that_the_notebook_prints():
    text = (Path(__file__).parents[2] / "notebooks" / "07_evaluation.ipynb").read_text()
    names = ("mild", "medium", "severe")
    for label, field in (("shrunk by", "down"), ("noise, of 255", "noise"), ("JPEG quality", "jpeg"), ("blur", "blur")):
        label = "blur, px of 512" if label == "blur" else label
        spans = [getattr(SEVERITIES[name], field) for name in names]
        assert f"| {label} | {' | '.join(f'{min(span)} to {max(span)}' for span in spans)} |" in text
