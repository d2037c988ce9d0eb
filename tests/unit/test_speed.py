"""The speed benchmark runs and reports (no speed is tested), and importing the package stays cheap."""

import json
import subprocess
import sys
from pathlib import Path

import bfr_lite

ROOT = Path(__file__).parents[2]


def test_the_benchmark_runs_on_tiny_sizes_and_writes_what_it_prints(tmp_path):
    command = [sys.executable, ROOT / "data/benchmarks/speed.py", "--quick", "--output", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    report, table = json.loads((tmp_path / "speed.json").read_text()), (tmp_path / "speed.md").read_text()
    assert table.strip() in done.stdout
    assert {"command", "hardware", "versions", "repeats", "missing", "rows"} == set(report)
    assert all(row["ours"] > 0 and f"| {row['what']} |" in table for row in report["rows"])
    kinds = (
        "modulated convolution",
        "convolution without modulation",
        "degradation",
        "restore",
        "generator training step",
        "import",
        "bfr-lite --help",
    )
    for kind in kinds:
        assert any(row["what"].startswith(kind) for row in report["rows"]), kind
    compared = [row for row in report["rows"] if row["theirs"] is not None]
    assert any("OpenCV" in row["what"] for row in compared) and all(row["ratio"] > 0 for row in compared)
    for package in ("labml_nn", "stylegan2_pytorch", "albumentations", "kornia"):
        measured = any(row["what"].endswith(f"against {package}") for row in compared)
        assert measured or any(line.startswith(package) for line in report["missing"]), package


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, bfr_lite; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"torch", "numpy", "PIL", "cv2", "skimage", "scipy", "matplotlib", "lpips", "accelerate", "torchvision"}
    assert bfr_lite.__name__ in loaded and not heavy & set(loaded)


def test_the_restorer_loads_only_what_it_needs():
    code = "import sys; from bfr_lite import Restorer; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "torch" in loaded
    assert not {"cv2", "skimage", "scipy", "matplotlib", "lpips", "accelerate", "torchvision"} & set(loaded)
