"""The commands of ``bfr-lite``, one module each, with ``add_parser(subparsers)`` and ``run(args)``."""

from __future__ import annotations

import argparse
import unicodedata
from collections.abc import Callable

# What add_subparsers returns; argparse keeps the class private.
Subparsers = argparse._SubParsersAction


CONTROLS = ("Cc", "Cs", "Cn", "Zl", "Zp")  # categories of Unicode: controls, no characters, line ends
DIRECTIONS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # make text read backwards


def printable(text: str) -> str:
    """`text` without what a terminal would obey: a stranger's file may have any name."""
    return "".join("\N{REPLACEMENT CHARACTER}" if _obeyed(letter) else letter for letter in text)


def _obeyed(letter: str) -> bool:
    return letter in DIRECTIONS or (letter != "\n" and unicodedata.category(letter) in CONTROLS)


def seed(text: str) -> int:
    """A seed as PyTorch takes it, for `argparse`. Raises `ValueError`."""
    number = int(text)
    if not 0 <= number < 2**63:
        raise ValueError(f"{number} is no seed")
    return number


def command_parser(
    subparsers: Subparsers, name: str, summary: str, example: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """A command's parser: ``--help`` ends with ``example`` (lines of shell), ``run`` does the work."""
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog="example:\n" + "\n".join(f"  {line}" for line in example.strip().splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # SUPPRESS: do not undo a --debug given before the command's name
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)
    return parser
