"""Give a trained restorer a newer prior: its codec goes on from where it was, the generator is the prior's.

python data/graft_prior.py restorer-lite.safetensors prior-lite.safetensors -o grafted.safetensors

What comes out restores worse than what went in, until the two are trained together for a while
(`bfr-lite train restorer --start grafted.safetensors`): codec and generator had grown used to each other.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bfr_lite import Restorer, load_generator
from bfr_lite.checkpoints import read_card, save_weights


def main() -> None:
    """Graft and write, with both origins on the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("restorer", type=Path)
    parser.add_argument("prior", type=Path, help="safetensors or checkpoint of `bfr-lite train prior`")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    restorer = Restorer.from_pretrained(args.restorer)
    restorer.adopt_prior(load_generator(args.prior))
    card = {**read_card(args.restorer), "grafted_prior": read_card(args.prior).get("sha256", str(args.prior))}
    save_weights(args.output, restorer, card)


if __name__ == "__main__":
    main()
