"""Tables and intervals: the right values in the right places, and honest about what could not be measured."""

import json
import math

import pytest
import torch

from bfr_lite import metrics
from bfr_lite.baselines import DEFAULTS
from bfr_lite.degradation import Degradation
from bfr_lite.evaluation import Table, bootstrap_interval, comparison, evaluate, markdown_table, sample_damage
from bfr_lite.face_sets import FaceDataset
from bfr_lite.presets import preset
from bfr_lite.restorer import Restorer

TINY = preset("tiny")
DEGRADATION = Degradation.named("gfpgan", 32)


class Blobs(FaceDataset):
    """Smooth pictures of 32 px, each its own."""

    def __init__(self, count: int):
        super().__init__("blobs", [f"blob {number}" for number in range(count)], 32)
        coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(0))
        self.images = torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear")

    def _faces(self, numbers):
        return self.images[numbers]


@pytest.fixture(scope="module")
def restorer():
    """An untrained restorer of 32 px."""
    return Restorer(TINY).eval()


def test_a_table_holds_the_values_of_each_face(restorer):
    faces = Blobs(10)  # more than one batch
    table = evaluate(restorer, faces, DEGRADATION, (0.0, 1.0), DEFAULTS, (metrics.PSNR, metrics.SSIM), seed=3)
    assert list(table.rows) == [
        "input, pixels repeated", "input, bicubic", *DEFAULTS, "restorer, fidelity 0", "restorer, fidelity 1",
    ]  # fmt: skip
    degraded = DEGRADATION.apply(faces.images, sample_damage(faces, DEGRADATION, seed=3))
    expected = {
        "input, bicubic": degraded,
        "total variation": DEFAULTS["total variation"](degraded),
        "restorer, fidelity 0": restorer.restore(degraded, 0.0),
    }
    for row, pictures in expected.items():
        torch.testing.assert_close(table.values(row, "PSNR"), metrics.psnr(pictures, faces.images))
        torch.testing.assert_close(table.values(row, "SSIM"), metrics.ssim(pictures, faces.images))
    assert table.faces == tuple(faces.names)


def test_a_face_has_the_same_damage_however_many_there_are(restorer):
    many, again = (evaluate(restorer, Blobs(20), DEGRADATION, (), metrics=[metrics.PSNR]) for _ in range(2))
    assert torch.equal(again.values("input, bicubic", "PSNR"), many.values("input, bicubic", "PSNR"))
    short = Blobs(20)
    short.names = short.names[:3]
    three = evaluate(restorer, short, DEGRADATION, (), metrics=[metrics.PSNR])
    torch.testing.assert_close(three.values("input, bicubic", "PSNR"), many.values("input, bicubic", "PSNR")[:3])


def test_a_comparison_shows_the_pictures_that_were_measured(restorer):
    faces = Blobs(10)
    rows = comparison(restorer, faces, DEGRADATION, [7, 2], (1.0,), DEFAULTS)
    table = evaluate(restorer, faces, DEGRADATION, (1.0,), DEFAULTS, [metrics.PSNR])
    assert list(rows) == [*table.rows, "clean"]
    for name in table.rows:
        measured = metrics.psnr(rows[name], rows["clean"])
        torch.testing.assert_close(measured, table.values(name, "PSNR")[[7, 2]], atol=1e-3, rtol=0)
    with pytest.raises(IndexError, match="10 faces"):
        comparison(restorer, faces, DEGRADATION, [10])


def test_the_interval_is_that_of_the_normal_law_for_many_values():
    values = torch.randn(2000, generator=torch.Generator().manual_seed(0)) * 3 + 10
    low, high = bootstrap_interval(values)
    assert (low + high) / 2 == pytest.approx(values.mean().item(), abs=0.02)
    assert high - low == pytest.approx(2 * 1.96 * 3 / math.sqrt(2000), rel=0.1)
    assert bootstrap_interval(values) == (low, high) != bootstrap_interval(values, seed=1)


def test_intervals_of_few_values():
    assert bootstrap_interval(torch.tensor([4.0])) == (4, 4)
    assert bootstrap_interval(torch.tensor([4.0, math.nan])) == (4, 4)
    assert all(math.isnan(end) for end in bootstrap_interval(torch.tensor([math.nan])))


@pytest.fixture
def table():
    """Two methods, two metrics, three faces, one of which could not be measured."""
    distance = metrics.Metric("distance", "px", False, 1, lambda a, b: torch.zeros(len(a)))
    rows = {
        "one": torch.tensor([[20.0, 1.0], [30.0, 2.0], [25.0, math.nan]]),
        "none": torch.full((3, 2), math.nan),
    }
    return Table(("a", "b", "c"), (metrics.PSNR, distance), rows, {"seed": 4})


def test_markdown_names_units_directions_and_gaps(table):
    head, rule, one, none = table.markdown().splitlines()
    assert head == "|  | PSNR, dB ↑ | distance, px ↓ |"
    assert rule == "| --- | ---: | ---: |"
    assert one.startswith("| one | 25.00 [20.00, 30.00] | 1.5 [1.0, 2.0] (of 2 faces) |")
    assert none == "| none | nan [nan, nan] (of 0 faces) | nan [nan, nan] (of 0 faces) |"


def test_json_has_every_value_and_no_nan(table):
    content = json.loads(json.dumps(table.as_dict(), allow_nan=False))
    assert content["facts"] == {"seed": 4}
    assert content["faces"] == ["a", "b", "c"]
    decimals = table.metrics[1].decimals
    assert content["metrics"]["distance"] == {"unit": "px", "higher_is_better": False, "decimals": decimals}
    assert content["methods"]["one"]["distance"] == {"mean": 1.5, "interval_95": [1.0, 2.0], "values": [1.0, 2.0, None]}
    assert content["methods"]["none"]["PSNR"]["mean"] is None


def test_json_can_be_read_again_but_not_measured_with(table):
    again = Table.from_dict(json.loads(json.dumps(table.as_dict())))
    assert again.markdown() == table.markdown() and again.as_dict() == table.as_dict()
    with pytest.raises(ValueError, match="was read from a file"):
        again.metrics[0].measure(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))


def test_a_wrong_name_says_what_there_is(table):
    with pytest.raises(ValueError, match="PSNR, distance of one, none"):
        table.values("two", "PSNR")


def test_a_bar_in_a_name_does_not_make_a_cell():
    assert markdown_table(["a"], {"|yaw|": ["1"]}).splitlines()[-1] == r"| \|yaw\| | 1 |"
