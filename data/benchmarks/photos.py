"""How well whole photos are restored: test portraits as they were published, damaged whole, found, restored, put back.

BFR_LITE_DATA=... python data/benchmarks/photos.py [--weights NAME] [--detector FILE]

Prints a Markdown table: for each damage, faces found, the landmark distance of the input and of the result from the
clean photo (all three cut out by the true points, so that a face put back out of place counts), the change, and the
PSNR of the same crops. Nothing about a photo is told to the pipeline but its pixels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from bfr_lite import Degradation, Restorer, metrics
from bfr_lite.alignment import align
from bfr_lite.congress import Portrait, portrait_folder, portraits
from bfr_lite.degradation import DegradationRanges
from bfr_lite.faces import FaceDetector
from bfr_lite.images import load_image, tensor_to_uint8
from bfr_lite.photos import find_faces, restore_photo

SIZE, SEED = 128, 0
DAMAGES = ("severity 0.5", "severity 0.7", "severity 0.9", "gfpgan", "x8")


def damage(photo: Tensor, name: str, seed: int) -> np.ndarray:
    """A photo (3, H, W) in [0, 1], damaged whole: (H, W, 3) uint8. Blur is in proportion to its shorter side."""
    side = min(photo.shape[-2:])
    if name.startswith("severity"):
        ranges = Degradation.of_severity(float(name.split()[1]), side)
    else:
        ranges = Degradation.super_resolution(8) if name == "x8" else Degradation.named(name, side)
    params = ranges.sample(1, torch.Generator().manual_seed(seed))
    return tensor_to_uint8(Degradation(DegradationRanges(), size=None).apply(photo[None], params)[0])


def row(name: str, people: list[Portrait], folder: Path, detector: FaceDetector, restorer: Restorer) -> str:
    """One line of the table."""
    crops, found = {"clean": [], "input": [], "result": []}, 0
    for number, one in enumerate(tqdm(people, desc=name, leave=False, disable=None)):
        clean = load_image(folder / one.file)
        worn = damage(clean, name, SEED + number)
        faces = find_faces(worn, detector)
        found += any(not face.left_out for face in faces)
        result = restore_photo(worn, faces, restorer, fidelity=1.0)
        for key, picture in (("clean", tensor_to_uint8(clean)), ("input", worn), ("result", result)):
            crops[key].append(align(picture, one.landmarks, SIZE))
    clean, given, result = (torch.stack(crops[key]) for key in ("clean", "input", "result"))
    ruler = metrics.landmark_net_metric().measure
    before, after = (ruler(picture, clean).mean().item() for picture in (given, result))
    psnr = [metrics.psnr(picture, clean).mean().item() for picture in (given, result)]
    return (
        f"| {name} | {found} of {len(people)} | {before:.2f} | {after:.2f} | {after / before - 1:+.0%} "
        f"| {psnr[0]:.2f} | {psnr[1]:.2f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="lite")
    parser.add_argument("--detector", type=Path)
    args = parser.parse_args()
    restorer, detector = Restorer.from_pretrained(args.weights), FaceDetector(args.detector)
    people = portraits("test")
    folder = portrait_folder(people)
    print("| damage | found | landmarks, input | result | change | PSNR, input | result |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in DAMAGES:
        print(row(name, people, folder, detector, restorer), flush=True)


if __name__ == "__main__":
    main()
