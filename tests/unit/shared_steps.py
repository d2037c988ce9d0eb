"""Some training steps, alone or as one of several processes; prints what each step reports. Run by test_distributed.py.

The prior in double precision: in a GAN rounding grows from step to step, and would hide whether steps are the same.
"""

import json
import sys
from pathlib import Path

import torch
from accelerate import Accelerator

from bfr_lite import load_faces, load_generator, preset
from bfr_lite.face_sets import FaceDataset
from bfr_lite.training.configs import PriorConfig, RestorerConfig
from bfr_lite.training.loop import Task, agreed, batch_indices, step_rng
from bfr_lite.training.prior import PriorTask
from bfr_lite.training.processes import accelerated
from bfr_lite.training.restorer import RestorerTask

BATCH, SEED = 8, 3


class Double(FaceDataset):
    """The same faces in double precision."""

    def __init__(self, faces: FaceDataset):
        super().__init__(faces.origin, faces.names, faces.size)
        self.faces = faces

    def _faces(self, numbers: torch.Tensor) -> torch.Tensor:
        return self.faces.batch(numbers).double()


def main(what: str, folder: str, steps: int, out: str) -> None:
    """Take `steps` steps and write their reports to `out`."""
    torch.set_num_threads(1)
    faces = load_faces("folder", folder, size=32)
    with accelerated(cpu=True) as accelerator:
        reports = take_steps(task_of(what, faces, accelerator), steps, len(faces), accelerator)
        if accelerator.is_main_process:
            Path(out).write_text(json.dumps({"processes": accelerator.num_processes, "reports": reports}))


def task_of(what: str, faces: FaceDataset, accelerator: Accelerator) -> Task:
    """The prior's task in double precision, or the restorer's in single precision."""
    if what == "restorer":
        config = RestorerConfig(preset("tiny"), mixed_in=0.25, seed=SEED)
        return RestorerTask(config, faces, BATCH, accelerator, load_generator("tiny"))
    torch.set_default_dtype(torch.float64)
    task = PriorTask(PriorConfig(preset("tiny").gan, seed=SEED), Double(faces), BATCH, accelerator)
    for module in (*task.modules.values(), task.eye):
        module.double()
    return task


def take_steps(task: Task, steps: int, length: int, accelerator: Accelerator) -> list[dict[str, float]]:
    """What each step reports, averaged over the processes."""
    index, count = accelerator.process_index, accelerator.num_processes
    reports = []
    for step in range(steps):
        own = batch_indices(SEED, step, BATCH, length)[index::count]
        report = task.step(step, own, step_rng(SEED, step, index, count))
        reports.append(agreed(report, False, accelerator)[0])
    return reports


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
