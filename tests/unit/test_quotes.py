"""What README and notebook 09 say in numbers is what the committed results and the cards say."""

import csv
import json
import statistics
from pathlib import Path

import nbformat
import pytest
import torch

from bfr_lite import Restorer, load_faces
from bfr_lite.benchmark import Benchmark, conditions
from bfr_lite.evaluation import Table, evaluate
from bfr_lite.metrics import PSNR, SSIM, landmark_net_metric

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "data" / "benchmarks"
RESTORER = "restorer, fidelity 1"


def flat(text: str) -> str:
    """With every line break and run of spaces as one space, and a hyphen for the minus sign."""
    return " ".join(text.replace("−", "-").split())


README = flat((ROOT / "README.md").read_text())


def prose(name: str) -> str:
    """The text of a notebook, without its code."""
    cells = nbformat.read(ROOT / "notebooks" / name, as_version=4).cells
    return flat("\n".join(cell.source for cell in cells if cell.cell_type == "markdown"))


NOTEBOOK = prose("09_full_scale.ipynb")
SPEED = {row["what"]: row for row in json.loads((RESULTS / "speed.json").read_text())["rows"]}


def card(name: str) -> dict:
    return json.loads((ROOT / "bfr_lite" / "weights" / f"{name}.json").read_text())


def span(start: str, end: str) -> tuple[float, float]:
    """The least and the greatest ratio of the measurements whose names start and end so."""
    ratios = [row["ratio"] for what, row in SPEED.items() if what.startswith(start) and what.endswith(end)]
    return min(ratios), max(ratios)


@pytest.fixture(scope="module")
def benchmark() -> Benchmark:
    return Benchmark.from_dict(json.loads((RESULTS / "restorer-lite.json").read_text()))


def test_the_benchmark_is_of_the_shipped_weights(benchmark):
    assert card("restorer-lite")["sha256"] in benchmark.facts["weights"]


def changes(benchmark: Benchmark, row: str, names: list[str] | None = None) -> list[str]:
    """Of PSNR, features, landmarks and identity, without the intervals."""
    psnr, _, *others = (change.split(" [")[0] for change in benchmark.changes(row, names=names).values())
    return [psnr, *others]


def test_the_readme_quotes_the_benchmark(benchmark):
    psnr, feature, landmarks, identity = changes(benchmark, RESTORER)
    assert f"PSNR {psnr}, feature distance {feature}, landmark distance {landmarks}" in README
    assert f"identity angle (dlib's ResNet-29) {identity}." in README
    psnr, _, landmarks, identity = changes(benchmark, RESTORER, ["severe"])
    assert f"({psnr}, landmarks {landmarks}, identity {identity})" in README
    assert f"even mild damage gains ({changes(benchmark, RESTORER, ['mild'])[0]})." in README
    at_1, at_half = (
        [changes(benchmark, row, [name])[-1] for name in ("mild", "x4")] for row in (RESTORER, "restorer, fidelity 0.5")
    )
    assert "mild damage {}, x4 {}, and at the default fidelity of 0.5".format(*at_1) in README
    assert "sharper, {} and {}: a little less that person's".format(*at_half) in README
    intervals = [
        one.split(" [")[1].rstrip("]").split(", ") for one in benchmark.changes("restorer, fidelity 0.5").values()
    ]
    assert "95 % interval {} to {} %".format(*intervals[3]) in README
    assert "the angle by less than its own ({} to {} %)".format(*intervals[4]) in README
    psnr, feature, landmarks, identity = changes(benchmark, "restorer, fidelity 0.5")
    assert f"At fidelity 0.5: {psnr}, {feature}, {landmarks} and {identity}." in README


@pytest.mark.parametrize("name", ["medium", "x8"])
def test_the_committed_benchmark_is_what_code_and_weights_make(name, benchmark, congress_root):
    """Of the first faces: a smaller batch of damage is a prefix of a larger one."""
    faces, metrics = load_faces("congress", split="test", count=8), (PSNR, SSIM, landmark_net_metric())
    restorer = Restorer.from_pretrained("lite")
    table = evaluate(restorer, faces, conditions(faces.size)[name], (1.0,), metrics=metrics)
    for row in ("input, bicubic", RESTORER):
        for metric, apart in zip(metrics, (0.02, 0.001, 0.03), strict=True):
            wanted = benchmark.tables[name].values(row, metric.name)[:8]
            torch.testing.assert_close(table.values(row, metric.name).to(wanted), wanted, atol=apart, rtol=0)


def test_the_readme_quotes_the_damage_of_gfpgan_and_clean_faces():
    table = Table.from_dict(json.loads((RESULTS / "gfpgan.json").read_text()))
    clean = Table.from_dict(json.loads((RESULTS / "clean.json").read_text()))
    for one in (table, clean):
        assert card("restorer-lite")["sha256"] in one.facts["weights"]
    rows = [line for line in table.markdown().splitlines() if line.startswith("|")]
    assert len(rows) == 9
    assert all(flat(row) in README for row in rows)
    assert f"Clean faces come back at {clean.values(RESTORER, 'PSNR').mean():.1f} dB" in README


def test_the_readme_quotes_whole_photos():
    text, rows = (RESULTS / "photos.md").read_text(encoding="utf-8"), {}
    assert f"restorer {card('restorer-lite')['sha256'][:8]}" in text
    for part in text.split("\n## ")[2:]:  # before them: what is said, and what was found
        name, *lines = part.splitlines()
        rows |= {(name, line.split("|")[1].strip()): line.split("|")[2:-1] for line in lines if line.startswith("| ")}
    for damage in ("mean", "gfpgan"):
        by_net, by_dlib, by_yunet = (
            rows[name, damage][-1].partition("(")[2].strip(" %)")
            for name in ("LandmarkNet", "dlib's 68 points", "YuNet")
        )
        assert f"by {by_net} % by our LandmarkNet, {by_dlib} % by dlib's points and {by_yunet} % by YuNet's" in README
    gained = float(rows["PSNR", "gfpgan"][-1]) - float(rows["PSNR", "gfpgan"][1])
    assert f"PSNR {gained:+.2f} dB" in README


def test_the_readme_quotes_the_cards():
    seen = card("restorer-lite")["training"]["images_seen_in_all"]
    assert f"The restorer has seen {seen:,} pictures" in README
    stages = card("prior-lite")["training"]["stages"]
    everything, full = (
        sum(stage["images_seen"] for stage in stages if stage["size"] >= size) for size in (0, stages[-1]["size"])
    )
    assert f"prior has seen {everything:,}, {full:,} of them at 128 pixels" in README


def test_readme_and_notebook_quote_the_generators_speed():
    for package in ("stylegan2_pytorch", "labml_nn"):
        least, most = span("generator", package)
        wanted = f"{least:.1f} to {most:.1f} times as fast as {package}"
        assert wanted in README and wanted in NOTEBOOK
    for widths in ("lite, batch 8", "lite by torch.compile, batch 8", "128 px at the official widths, batch 2"):
        row = SPEED[f"generator training step, {widths}, against a plain convolution of 256 channels"]
        share = f"{100 * row['ratio']:.0f} %"
        assert share in README and share in NOTEBOOK


def test_readme_and_notebook_quote_the_two_ways_of_modulating():
    least, most = span("modulated convolution", "grouped")
    assert f"scaled inputs 1.5 times as fast as grouped convolutions ({least:.1f} to {most:.1f})" in README
    for way in ("", ", training step"):
        ratios = (SPEED[f"modulated convolution, {size} px{way}, against grouped"]["ratio"] for size in (64, 128, 256))
        assert "{:.2f}, {:.2f} and {:.2f} times as fast".format(*ratios) in NOTEBOOK


def test_readme_and_notebook_quote_the_degradations_speed():
    rows = {size: f"degradation, {size} px, against" for size in (128, 512)}
    small, large = SPEED[f"{rows[128]} OpenCV"], SPEED[f"{rows[512]} OpenCV"]
    assert f"makes {small['ours']:.0f} faces a second and core at 128 px" in README
    assert f"{small['ratio']:.2f} times what the same stages by OpenCV make (at 512 px {large['ratio']:.2f})" in README
    others = (SPEED[f"{rows[128]} {package}"]["ratio"] for package in ("albumentations", "kornia"))
    assert "{:.1f} times albumentations, {:.1f} times kornia".format(*others) in README
    wanted = f"{small['ratio']:.2f} times as many faces as OpenCV's C++ at 128 px, {large['ratio']:.2f} times at 512"
    assert wanted in NOTEBOOK


def test_the_readme_quotes_the_speed_of_restoring():
    one, many = (SPEED[f"restore, lite 128 px, batch {batch}, 2 threads"]["ours"] for batch in (1, 16))
    assert f"restored in {one:.0f} ms, one of sixteen in {many:.0f} ms each" in README
    assert f"is done in {SPEED['first restored face, whole process']['ours']:.1f} s" in README


def test_readme_and_notebook_quote_the_memory_of_a_step_at_512_px():
    used = {what: row["GB"] for what, row in json.loads((RESULTS / "full_step.json").read_text())["rows"].items()}
    assert f"A training step at 512 px fits into {max(used.values()):.1f} GB" in README
    kinds = ("float32", "float32, checkpointing", "bfloat16", "bfloat16, checkpointing")
    for network, label in (("prior", "prior, 1 picture, R1 in the step"), ("restorer", "restorer, 2 pictures")):
        cells = [f"{used[f'{network}, one step, {kind}']:.1f}" for kind in kinds]
        assert f"| {' | '.join([label, *cells])} |" in NOTEBOOK


def test_notebook_04_quotes_the_quality_of_the_prior():
    text = prose("04_stylegan2_prior.ipynb")
    found = json.loads((RESULTS / "prior_quality.json").read_text())
    assert found["sha256"] == card("prior-lite")["sha256"]
    near, by = found["median_distance_to_nearest_train"], found["by_identity"]
    assert f"as far away ({near['samples']}, median) as from an unseen portrait ({near['test']})" in text
    assert f"after those to {found['frechet_to_train']}, precision from 0.113 to {found['precision']}" in text
    assert f"recall from 0.001 to {found['recall']}" in text
    assert f"sees no gain: {by['frechet_to_test']} to unseen portraits" in text
    assert f"training portraits have {by['frechet_of_train_to_test']}; recall {by['recall']}" in text


def test_the_history_of_the_benchmark_ends_with_the_shipped_weights(benchmark):
    with (RESULTS / "restorer-lite-history.csv").open() as file:
        last = list(csv.DictReader(file))[-2:]
    for one, row in zip(last, ("restorer, fidelity 0.5", RESTORER), strict=True):
        assert card("restorer-lite")["sha256"].startswith(one["weights"])
        assert [one[name] for name in ("PSNR_dB", "features_percent", "landmarks_percent", "identity_percent")] == [
            change.split()[0] for change in changes(benchmark, row)
        ]


def test_cards_have_what_was_measured(benchmark):
    (changes_of,) = card("restorer-lite")["metrics"].values()
    assert changes_of == {f"fidelity {f}": benchmark.changes(f"restorer, fidelity {f}") for f in ("0.5", "1")}
    found = json.loads((RESULTS / "prior_quality.json").read_text())
    assert card("prior-lite")["metrics"].items() <= found.items() and card("prior-lite")["sha256"] == found["sha256"]


def test_notebook_07_quotes_the_ablations():
    runs = [run for run in json.loads((RESULTS / "ablations.json").read_text()) if run["images"] == 16_000]
    text = prose("07_evaluation.ipynb")

    def mean(row: str, metric: str, damage: str = "gfpgan", fidelity: str = "1") -> float:
        found = [run["results"][damage] for run in runs if run["row"] == row]
        ways = [one.get(f"restorer, fidelity {fidelity}") or one["network"] for one in found]
        assert len(ways) == 3
        return statistics.mean(value for way in ways for name, value in way.items() if name.startswith(metric))

    whole, features, landmarks = "whole system", "EfficientNet", "landmark"
    pair = (mean(row, features) for row in ("no prior", whole))
    assert "the feature distance is {:.3f} instead of {:.3f}".format(*pair) in text
    pair = (mean(row, landmarks, fidelity="0.5") for row in ("no prior", whole))
    assert "nearer without it ({:.2f} px against {:.2f})".format(*pair) in text
    for row, words in (
        ("plain blocks", "{:.0f} % farther off"),
        ("MMRB without point", "(landmarks {:.0f} % farther)"),
    ):
        assert words.format(100 * (mean(row, landmarks) / mean(whole, landmarks) - 1)) in text
    pair = (mean(row, "PSNR") for row in (whole, "without all three signals"))
    assert "with all three PSNR is {:.2f} dB, without {:.2f}".format(*pair) in text
    ours, drawn = (
        [mean(row, metric) for metric in ("PSNR", landmarks)] for row in (whole, "a quarter of the batch drawn")
    )
    assert "beside {:.2f} and {:.2f}) | {:.2f} | {:.2f} | 3 |".format(*ours, *drawn) in text
    pair = [mean("GPEN-like", metric, "codeformer") for metric in ("PSNR", features)]
    assert "({:.2f} dB, features {:.3f}, against".format(*pair) in text
    gain = mean("U-Net, MMRB", "PSNR") - mean("U-Net, its own block", "PSNR")
    assert f"it gains {gain:.2f} dB" in text
