"""How well whole photos are restored: test portraits as they were published, damaged whole, found, restored, put back.

BFR_LITE_DATA=... python data/benchmarks/photos.py [--weights NAME] [--fidelity F] [--detector FILE]

Prints Markdown tables, a line for each damage and their mean: the landmark distance from the clean photo of the input,
of the result, and of what the result would be if the true points were known, so that what finding costs is told from
what restoring cannot do. All are cut out by the true points, so that a face put back out of place counts. Three rulers
measure, for none is right: see `rulers`. Nothing about a photo is told to the pipeline but its pixels.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import dlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from bfr_lite import Degradation, Restorer, metrics
from bfr_lite.alignment import align, alignment_matrix, transform
from bfr_lite.congress import Portrait, portrait_folder, portraits
from bfr_lite.degradation import DegradationRanges
from bfr_lite.faces import Face, FaceDetector
from bfr_lite.images import load_image, resize, tensor_to_uint8
from bfr_lite.photos import find_faces, judge, restore_photo

SIZE, SEED = 128, 0
DAMAGES = ("x4, JPEG 40", "severity 0.5", "severity 0.7", "severity 0.9", "gfpgan", "x8")
KEYS = ("input", "true points", "result")
# What dlib's detector calls a face, in a face in the FFHQ position: left, top, right, bottom in shares of its side.
DLIB_BOX = (0.21, 0.30, 0.80, 0.885)


def damage(photo: Tensor, name: str, seed: int) -> np.ndarray:
    """A photo (3, H, W) in [0, 1], damaged whole: (H, W, 3) uint8. Blur is in proportion to its shorter side."""
    if name == "x4, JPEG 40":
        return _shrunk_and_saved(Image.fromarray(tensor_to_uint8(photo)))
    side = min(photo.shape[-2:])
    if name.startswith("severity"):
        ranges = Degradation.of_severity(float(name.split()[1]), side)
    else:
        ranges = Degradation.super_resolution(8) if name == "x8" else Degradation.named(name, side)
    params = ranges.sample(1, torch.Generator().manual_seed(seed))
    return tensor_to_uint8(Degradation(DegradationRanges(), size=None).apply(photo[None], params)[0])


def _shrunk_and_saved(photo: Image.Image) -> np.ndarray:
    """Shrunk to a quarter, saved as JPEG of quality 40, and enlarged: the damage of `data/photo_figure.py`."""
    stream = io.BytesIO()
    photo.resize((photo.width // 4, photo.height // 4), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=40)
    return np.asarray(Image.open(stream).resize(photo.size, Image.Resampling.BICUBIC))


def rulers(detector: FaceDetector) -> dict[str, metrics.Measure]:
    """Landmark distances in px of 512, by name: each (pictures, clean pictures) to (B,), NaN where none is seen.

    `LandmarkNet` is the metric of the benchmark. It has learnt to see through damage, so a damaged face is not far off
    by it. YuNet has not, and gave the points that are called true. dlib's 68 points (of which the 51 of brows, nose,
    eyes and mouth are compared) know nothing of this project.
    """
    models = Path(find_spec("face_recognition_models").origin).parent / "models"
    predictor = dlib.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat"))

    def yunet(pictures: Tensor) -> Tensor:
        found = [detector.detect(tensor_to_uint8(picture)) for picture in pictures]
        none = np.full((5, 2), np.nan)
        return torch.from_numpy(np.stack([faces[0].landmarks if faces else none for faces in found]))

    def dlib_68(pictures: Tensor) -> Tensor:
        large = resize(pictures, 4 * SIZE)  # its points are whole pixels
        box = dlib.rectangle(*(round(share * 4 * SIZE) for share in DLIB_BOX))
        shapes = [predictor(tensor_to_uint8(picture), box) for picture in large]
        return torch.tensor([[(p.x / 4, p.y / 4) for p in shape.parts()[17:]] for shape in shapes])

    others = {"YuNet": metrics.LandmarkDistance(yunet), "dlib's 68 points": metrics.LandmarkDistance(dlib_68)}
    return {"LandmarkNet": metrics.landmark_net_metric().measure} | others


def pictures(
    name: str, people: list[Portrait], folder: Path, detector: FaceDetector, restore: Callable
) -> tuple[dict[str, Tensor], list[float]]:
    """Faces (N, 3, SIZE, SIZE) by the true points, "clean" and each of `KEYS`; and `points_off` where one was found."""
    crops, off = {key: [] for key in ("clean", *KEYS)}, []
    for number, one in enumerate(tqdm(people, desc=name, leave=False, disable=None)):
        clean = load_image(folder / one.file)
        worn = damage(clean, name, SEED + number)
        faces = find_faces(worn, detector)
        off += [points_off(face.face.landmarks, one.landmarks) for face in faces if not face.left_out][:1]
        known = judge(Face(np.zeros(4), one.landmarks, 1.0))
        made = tensor_to_uint8(clean), worn, restore(worn, [known]), restore(worn, faces)
        for key, picture in zip(crops, made, strict=True):
            crops[key].append(align(picture, one.landmarks, SIZE))
    return {key: torch.stack(part) for key, part in crops.items()}, off


def points_off(points: np.ndarray, true: np.ndarray) -> float:
    """Distance of the middle of five points from where it is, in px of 512: what the whole face is out of place by."""
    matrix = alignment_matrix(true, metrics.PUBLISHED_SIZE)
    return float(np.linalg.norm((transform(points, matrix) - transform(true, matrix)).mean(axis=0)))


def measured(crops: dict[str, Tensor], measure: metrics.Measure) -> tuple[list[float], int]:
    """Means for `KEYS` over the faces that the measure sees in all of them, and how many these are."""
    values = torch.stack([measure(crops[key], crops["clean"]) for key in KEYS])
    seen = values.isfinite().all(dim=0)
    return values[:, seen].mean(dim=1).tolist(), int(seen.sum())


def cells(tool: str, means: list[float]) -> str:
    """Cells of a line for `KEYS`: decibels, or distances with the change from the input's."""
    if tool == "PSNR":
        return " | ".join(f"{value:.2f}" for value in means)
    return " | ".join([f"{means[0]:.2f}"] + [f"{value:.2f} ({value / means[0] - 1:+.0%})" for value in means[1:]])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="lite")
    parser.add_argument("--fidelity", type=float, default=1.0)
    parser.add_argument("--detector", type=Path)
    args = parser.parse_args()
    restorer, detector = Restorer.from_pretrained(args.weights), FaceDetector(args.detector)
    people = portraits("test")
    folder, tools = portrait_folder(people), rulers(detector) | {"PSNR": metrics.psnr}

    def restore(photo, faces):
        return restore_photo(photo, faces, restorer, args.fidelity)

    lines, means = {tool: [] for tool in tools}, {tool: [] for tool in tools}
    finding = ["| damage | found | face out of place |", "| --- | ---: | ---: |"]
    for name in DAMAGES:
        crops, off = pictures(name, people, folder, detector, restore)
        finding.append(f"| {name} | {len(off)} of {len(people)} | {np.mean(off):.2f} |")
        for tool, measure in tools.items():
            values, seen = measured(crops, measure)
            means[tool].append(values)
            lines[tool].append(f"| {name} | {seen} of {len(people)} | {cells(tool, values)} |")
    print("## Finding\n", *finding, sep="\n")
    for tool, rows in lines.items():
        print(f"\n## {tool}\n\n| damage | measured | {' | '.join(KEYS)} |\n| --- | ---: | ---: | ---: | ---: |")
        print(*rows, f"| mean | | {cells(tool, np.mean(means[tool], axis=0).tolist())} |", sep="\n")


if __name__ == "__main__":
    main()
