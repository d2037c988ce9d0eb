"""How good is a prior? Its samples beside the portraits it learnt from, and beside portraits it never saw.

BFR_LITE_DATA=... python data/benchmarks/prior_quality.py            # the shipped prior
BFR_LITE_DATA=... python data/benchmarks/prior_quality.py runs/prior-lite/128/checkpoint.pt --output quality

As many samples as training portraits, without truncation: Fréchet distance, precision and recall, and the distance of
each to its nearest training portrait, which would be small if it were a copy; unseen portraits say what is usual.
By two rulers: EfficientNet-Lite2, which is of the family that the critics of training look through, and dlib's network
for faces (extra "benchmark"), which no training has used.
Written: OUTPUT.json, and OUTPUT.jpg with samples above their nearest training portraits.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from bfr_lite import load_faces, load_generator
from bfr_lite.checkpoints import read_card, shipped_path
from bfr_lite.frechet import FaceFeatures, frechet_distance, precision_recall
from bfr_lite.identity import IdentityAngle
from bfr_lite.images import grid, resize, save_image
from bfr_lite.machine import hardware, versions

BATCH, SHOWN, SEED = 16, 12, 0


@torch.no_grad()
def draw(source: str, count: int) -> Tensor:
    """Samples (count, 3, size, size) of a prior."""
    generator = load_generator(source)
    ws = generator.sample(count, torch.Generator().manual_seed(SEED))
    return torch.cat([generator(part).clamp(0, 1) for part in ws.split(BATCH)])


def compare(seen: dict[str, Tensor], digits: int) -> dict[str, float]:
    """How features (N, D) of samples compare with those of training and of unseen portraits, distances rounded."""
    precision, recall = precision_recall(seen["samples"], seen["train"])
    return {
        "frechet_to_train": round(frechet_distance(seen["samples"], seen["train"]), digits),
        "frechet_to_test": round(frechet_distance(seen["samples"], seen["test"]), digits),
        "frechet_of_train_to_test": round(frechet_distance(seen["train"], seen["test"]), digits),
        "precision": round(precision, 3),
        "recall": round(recall, 3),
    }


def main() -> None:
    """Measure one prior and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prior", nargs="?", default="lite", help="whatever load_generator opens (default: lite)")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(""))
    args = parser.parse_args()
    features = FaceFeatures()
    train, test = (load_faces("congress", split=split) for split in ("train", "test"))
    pictures = {"train": train.batch(range(len(train))), "test": test.batch(range(len(test)))}
    pictures["samples"] = draw(args.prior, len(train))
    seen = {name: features(images.split(BATCH)) for name, images in pictures.items()}
    known = IdentityAngle()
    people = {name: torch.cat([known.embed(part) for part in images.split(BATCH)]) for name, images in pictures.items()}
    to_train = {name: torch.cdist(seen[name], seen["train"]) for name in ("samples", "test")}
    result = {
        "prior": args.prior,
        "sha256": read_card(shipped_path("prior", args.prior)).get("sha256") if not Path(args.prior).suffix else None,
        "features": features.name,
        "counts": {name: len(images) for name, images in pictures.items()},
        **compare(seen, 1),
        "median_distance_to_nearest_train": {
            name: round(values.amin(dim=1).median().item(), 2) for name, values in to_train.items()
        },
        "by_identity": {"features": "dlib ResNet-29, 128 numbers", **compare(people, 4)},
        "seed": SEED,
        "hardware": hardware(),
        "versions": versions(),
    }
    args.output.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    nearest = to_train["samples"][:SHOWN].argmin(dim=1)
    shown = torch.cat([resize(pictures["samples"][:SHOWN], train.size), pictures["train"][nearest]])
    save_image(grid(shown, SHOWN), args.output.with_suffix(".jpg"))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
