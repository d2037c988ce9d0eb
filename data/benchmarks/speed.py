"""How fast is it, and how fast are others? Prints one table and keeps speed.json and speed.md beside this file.

make bench, or: python data/benchmarks/speed.py [--quick] [--output FOLDER]

Ours and theirs take turns, and a ratio is the median over the turns: a machine that slows down slows both. What is
compared runs on one thread and counts processor seconds; restoring, memory and the start run on two, by the clock, so
keep the machine idle.
A package that is not installed leaves its row empty and is named. `--quick` shows on tiny sizes that all of it runs,
but for torch.compile, which takes minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import speed_rivals as rivals
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from bfr_lite.degradation import Degradation
from bfr_lite.images import tensor_to_uint8
from bfr_lite.machine import hardware, keep_freed_memory, versions
from bfr_lite.presets import LITE, TINY, preset
from bfr_lite.restorer import Restorer
from bfr_lite.stylegan2 import GANConfig, Generator

FOLDER = Path(__file__).parent
THREADS = min(2, os.cpu_count() or 1)  # of what is not measured per core
CASES = [*((name, batch) for name in ("tiny", "lite") for batch in (1, 4, 16)), ("full", 1), ("full", 2)]  # restored
PACKAGES = ("stylegan2_pytorch", "labml-nn", "albumentations", "kornia", "opencv-python-headless")
Row = dict[str, str | float | None]
Task = Callable[[], object]


def take_turns(tasks: dict[str, Task], repeats: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of every task in every turn, after one turn that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(repeats + 1):
        for name, task in tasks.items():
            start = clock()
            task()
            if turn:
                seconds[name].append(clock() - start)
    return seconds


def compare(what: str, ours: Task, others: dict[str, Task], repeats: int, target: float | None = None) -> list[Row]:
    """A row for each of the others: milliseconds of both on one core, and how often theirs contains ours."""
    torch.set_num_threads(1)
    seconds = take_turns({"ours": ours, **others}, repeats, time.process_time)
    rows = []
    for name in others:
        ratio = statistics.median(theirs / mine for theirs, mine in zip(seconds[name], seconds["ours"], strict=True))
        mine, theirs = (1000 * statistics.median(seconds[key]) for key in ("ours", name))
        goal = f">= {target} x" if target else None
        rows.append(row(f"{what}, against {name}", mine, "ms", theirs=theirs, ratio=ratio, target=goal))
    return rows


def row(what: str, ours: float, unit: str, **more: str | float | None) -> Row:
    """One line of the table."""
    return {"what": what, "ours": ours, "unit": unit, "theirs": None, "ratio": None, "target": None, **more}


def train(network: torch.nn.Module, draw: Task) -> Task:
    """A training step of a generator or a layer: draw, a scalar loss, gradients, Adam."""
    adam = torch.optim.Adam(network.parameters(), lr=1e-4)

    def step() -> None:
        adam.zero_grad()
        (draw() - 0.5).square().mean().backward()
        adam.step()

    return step


def without_gradient(draw: Task) -> Task:
    """The same, for use instead of training."""
    return torch.no_grad()(draw)


def generators(quick: bool, missing: list[str]) -> list[Row]:
    """Ours against other StyleGAN2 generators with as many channels, and the two forms of modulation.

    Each convolution is measured without modulation, too: what scaling inputs can reach at most.
    """
    rows = []
    for size, batch in ((16, 2),) if quick else ((64, 8), (128, 8), (256, 4)):
        base = 2048 * max(1, size // 128)
        config = GANConfig(size, z_dim=128, w_dim=128, mapping_layers=2, channel_base=base, channel_max=96)
        ours = Generator(config)
        ws = ours.sample(batch, torch.Generator().manual_seed(0)).detach()
        rng = torch.Generator().manual_seed(0)
        mine: Task = lambda ours=ours, ws=ws, rng=rng: ours(ws, noise=rng)  # noqa: E731
        forward, steps = {}, {}
        for name, build in (("labml_nn", rivals.labml), ("stylegan2_pytorch", rivals.lucidrains)):
            try:
                network, draw = build(config)
            except ImportError as error:
                missing.append(f"{name} ({error})")
                continue
            theirs: Task = lambda draw=draw, batch=batch: draw(batch)  # noqa: E731
            forward[name], steps[name] = without_gradient(theirs), train(network, theirs)
        repeats = 1 if quick else 7
        rows += compare(f"generator forward, {size} px", without_gradient(mine), forward, repeats, 1.5)
        rows += compare(f"generator training step, {size} px", train(ours, mine), steps, repeats, 1.5)
        layer = ours.blocks[str(size)].conv.conv
        x = torch.randn(batch, config.channels(size), size, size, generator=rng)
        near, w = x.contiguous(memory_format=torch.channels_last).requires_grad_(), ws[:, 0]
        x.requires_grad_()
        scaled: Task = lambda layer=layer, x=near, w=w: layer(x, w)  # noqa: E731
        textbook: Task = lambda layer=layer, x=x, w=w: rivals.grouped(layer, x, w)  # noqa: E731
        bare: Task = lambda layer=layer, x=near: F.conv2d(x, layer.weight, padding=1)  # noqa: E731
        drawing, training = {"grouped": without_gradient(textbook)}, {"grouped": train(layer, textbook)}
        for what, task, goal in (
            ("modulated convolution", scaled, 1.5),
            ("convolution without modulation", bare, None),
        ):
            rows += compare(f"{what}, {size} px", without_gradient(task), drawing, repeats, goal)
            rows += compare(f"{what}, {size} px, training step", train(layer, task), training, repeats, goal)
    return rows


def degradations(quick: bool, missing: list[str]) -> list[Row]:
    """Our pipeline against the same stages by OpenCV, albumentations and kornia, by the same drawn parameters."""
    rows = []
    for size, batch in ((32, 2),) if quick else ((128, 16), (512, 8)):
        degradation = Degradation.named("gfpgan", size)
        rng = torch.Generator().manual_seed(0)
        images = F.interpolate(torch.rand(batch, 3, 16, 16, generator=rng), size, mode="bilinear")
        params, pictures = degradation.sample(batch, rng), [tensor_to_uint8(image) for image in images]
        others = {"OpenCV": lambda s=pictures, p=params: [rivals.opencv(a, b) for a, b in zip(s, p, strict=True)]}
        try:
            degrade = rivals.albumentations(size)
            others["albumentations"] = lambda s=pictures, p=params, d=degrade: [d(*a) for a in zip(s, p, strict=True)]
        except ImportError as error:
            missing.append(f"albumentations ({error})")
        if "kornia" in installed():
            others["kornia"] = lambda i=images, p=params: rivals.kornia(i, p)
        else:
            missing.append("kornia")
        ours: Task = lambda d=degradation, i=images, p=params: d.apply(i, p)  # noqa: E731
        for one in compare(f"degradation, {size} px", ours, others, 1 if quick else 5, 2.0):
            faces = {key: 1000 * batch / one[key] for key in ("ours", "theirs")}
            rows.append(one | faces | {"unit": "faces/s"})
    return rows


def restoring(quick: bool) -> list[Row]:
    """`Restorer.restore`: milliseconds a face by network and batch size."""
    torch.set_num_threads(THREADS)
    targets = {("lite", 1): "< 60", ("lite", 16): "< 35"}
    rows = []
    for name, batch in CASES[:1] if quick else CASES:
        restorer = Restorer.from_pretrained("lite") if name == "lite" else Restorer(preset(name)).eval()
        faces = torch.rand(batch, 3, restorer.preset.size, restorer.preset.size)
        repeats = 1 if quick else 3 if name == "full" else 7
        task: Task = lambda restorer=restorer, faces=faces: restorer.restore(faces)  # noqa: E731
        seconds = statistics.median(take_turns({"ours": task}, repeats, time.perf_counter)["ours"])
        what = f"restore, {name} {restorer.preset.size} px, batch {batch}, {THREADS} threads"
        rows.append(row(what, 1000 * seconds / batch, "ms/face", target=targets.get((name, batch))))
    return rows


def memory(quick: bool) -> list[Row]:
    """Peak memory of a whole process that restores one batch, PyTorch included; read from Linux, elsewhere no rows.

    Not `ru_maxrss`: a child inherits its parent's.
    """
    if not sys.platform.startswith("linux"):
        return []
    rows = []
    for name, batch in CASES[:1] if quick else CASES:
        code = (
            "import torch; from bfr_lite.restorer import Restorer; from bfr_lite.presets import preset; "
            f"r = Restorer(preset({name!r})).eval(); r.restore(torch.rand({batch}, 3, r.preset.size, r.preset.size)); "
            "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"  # KiB
        )
        done = _python("-c", code)
        rows.append(row(f"peak memory, restore, {name}, batch {batch}", float(done.stdout) / 1024, "MiB"))
    return rows


def flops(quick: bool, missing: list[str]) -> list[Row]:
    """FLOP/s of the generator's training step as a share of those of one large float32 convolution.

    With few channels there is little to multiply for every number that is read: the official widths show what the code
    is worth, `lite` what is left of it on a network for laptops, and what torch.compile, which goes over the memory
    less often, can add.
    """
    torch.set_num_threads(1)
    near, channels, rows = {"memory_format": torch.channels_last}, 16 if quick else 256, []
    x, weight = torch.randn(8, channels, 32, 32).to(**near), torch.randn(channels, channels, 3, 3).to(**near)
    cases = {"lite": (LITE, 8), "128 px at the official widths": (GANConfig(128), 2)}
    compiles = any(map(shutil.which, ("c++", "g++", "clang++")))
    if not (quick or compiles):
        missing.append("torch.compile (no C++ compiler)")
    for name, (config, batch) in {"tiny": (TINY, 2)}.items() if quick else cases.items():
        generator = Generator(config)
        ws = generator.sample(batch, torch.Generator().manual_seed(0)).detach()
        plain: Task = lambda: F.conv2d(x, weight, padding=1)  # noqa: E731
        steps = {name: train(generator, lambda generator=generator, ws=ws: generator(ws))}
        per_plain, per_step = (_operations(task) / 1e9 for task in (plain, steps[name]))
        if name == "lite" and compiles:
            compiled = torch.compile(generator)
            steps["lite by torch.compile"] = train(generator, lambda compiled=compiled, ws=ws: compiled(ws))
        seconds = take_turns({"plain": plain, **steps}, 1 if quick else 7, time.process_time)
        rates = {key: [per_step / one for one in seconds[key]] for key in steps}
        most = [per_plain / one for one in seconds["plain"]]
        for key in steps:
            ratio = statistics.median(rate / best for rate, best in zip(rates[key], most, strict=True))
            facts = {"theirs": statistics.median(most), "ratio": ratio, "target": ">= 0.6 x"}
            what = f"generator training step, {key}, batch {batch}, against a plain convolution of {channels} channels"
            rows.append(row(what, statistics.median(rates[key]), "GFLOP/s", **facts))
    return rows


def _operations(task: Task) -> int:
    """Floating-point operations of a task, of its convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        task()
    return counter.get_total_flops()


def cold_start(quick: bool) -> list[Row]:
    """Seconds from nothing: whole processes; `import bfr_lite` with torch already there."""
    code = "import torch, time; t = time.perf_counter(); import bfr_lite; print(time.perf_counter() - t)"
    imported = [float(_python("-c", code).stdout) for _ in range(1 if quick else 3)]
    rows = [row("import bfr_lite, torch loaded", statistics.median(imported), "s", target="< 0.3")]
    first = (
        "import torch; from bfr_lite import Restorer; Restorer.from_pretrained('lite').restore(torch.rand(3, 128, 128))"
    )
    for what, command, target in (
        ("bfr-lite --help", ["-m", "bfr_lite", "--help"], "< 0.5"),
        ("first restored face, whole process", ["-c", first], "< 4"),
    ):
        task: Task = lambda c=command: _python(*c)  # noqa: E731
        seconds = take_turns({"ours": task}, 1 if quick else 3, time.perf_counter)["ours"]
        rows.append(row(what, statistics.median(seconds), "s", target=target))
    return rows


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python process of its own, with as many threads as are measured here."""
    environment = os.environ | {"OMP_NUM_THREADS": str(THREADS)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment)


def installed() -> dict[str, str]:
    """Versions of the packages compared with, as far as they are installed."""
    names = {one.metadata["Name"].lower().replace("_", "-"): one.version for one in metadata.distributions()}
    return {name: names[key] for name in PACKAGES if (key := name.replace("_", "-")) in names}


def table(report: dict) -> str:
    """The report as Markdown."""
    lines = ["| what | ours | theirs | ratio | goal |", "| --- | ---: | ---: | ---: | --- |"]
    for one in report["rows"]:
        theirs = "" if one["theirs"] is None else f"{one['theirs']:.3g} {one['unit']}"
        ratio = "" if one["ratio"] is None else f"{one['ratio']:.2f}"
        lines.append(
            f"| {one['what']} | {one['ours']:.3g} {one['unit']} | {theirs} | {ratio} | {one['target'] or ''} |"
        )
    how = f"Compared on 1 thread, in processor seconds; restoring, memory and start on {THREADS} threads, by the clock."
    notes = [f"{how} {report['hardware']}; {report['versions']}; {report['command']}"]
    notes += [f"Not measured: {', '.join(report['missing'])}."] if report["missing"] else []
    return "\n".join([*lines, "", *notes, ""])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, one turn: shows that it runs, measures nothing"
    )
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder of speed.json and speed.md")
    options = parser.parse_args()
    keep_freed_memory()  # for all alike
    missing: list[str] = []
    torch.set_num_threads(THREADS)
    machine = f"{hardware()}, {torch.backends.cpu.get_cpu_capability()}"
    rows = generators(options.quick, missing) + degradations(options.quick, missing) + flops(options.quick, missing)
    rows += restoring(options.quick) + memory(options.quick) + cold_start(options.quick)
    report = {
        "command": f"python data/benchmarks/speed.py{' --quick' if options.quick else ''}",
        "hardware": machine,
        "versions": versions() | installed(),
        "repeats": {"generators": 7, "degradation": 5, "restore": 7, "full": 3, "cold start": 3}
        if not options.quick
        else 1,
        "missing": list(dict.fromkeys(missing)),
        "rows": rows,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "speed.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (options.output / "speed.md").write_text(table(report), encoding="utf-8")
    print(table(report))


if __name__ == "__main__":
    main()
