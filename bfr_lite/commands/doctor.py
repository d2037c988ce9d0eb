"""``bfr-lite doctor``."""

from __future__ import annotations

import argparse
import json

from bfr_lite.commands import Subparsers, command_parser

EXAMPLE = """
bfr-lite doctor
bfr-lite doctor --json | python -m json.tool
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add ``doctor`` to the command line."""
    summary = "check versions, CPU and GPU, memory, weights and data"
    parser = command_parser(subparsers, "doctor", summary, EXAMPLE, run)
    parser.add_argument("--json", action="store_true", help="report on stdout as JSON")


def run(args: argparse.Namespace) -> int:
    """Print a line for each check as it ends; 1 when one failed."""
    try:
        from bfr_lite.doctor import FAIL, examine
    except ImportError as error:  # the doctor itself needs a few of the packages that it would report
        raise ValueError(f"{error}: run `make venv`, or pip install -e '.[dev]'") from error

    checks = []
    for check in examine():
        checks.append(check)
        if not args.json:
            print(f"{check.status:<6} {check.name}: {check.detail}", flush=True)
    ok = all(check.status != FAIL for check in checks)
    if args.json:
        print(json.dumps({"ok": ok, "checks": [vars(check) for check in checks]}, indent=2))
    return 0 if ok else 1
