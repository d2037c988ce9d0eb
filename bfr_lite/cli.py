"""The command line ``bfr-lite``, also ``python -m bfr_lite``: parser, dispatch and errors.

Each command is a module of `bfr_lite.commands` with ``add_parser(subparsers)`` and ``run(args) -> int``.
Those modules import PyTorch inside ``run`` only, so that every ``--help`` comes at once.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

import bfr_lite
from bfr_lite.commands import degrade, doctor, evaluate, printable, restore, train

COMMANDS = (doctor, restore, degrade, train, evaluate)  # in the order of --help

EXAMPLE = """\
example:
  bfr-lite doctor                         is everything here?
  bfr-lite restore photos/ -o restored    restore the faces in photos
  bfr-lite <command> --help               what a command does, with an example
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command; a parsed command's function is ``args.run``."""
    parser = argparse.ArgumentParser(
        prog="bfr-lite",
        description="Blind face restoration: degrade, restore, train, evaluate.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"bfr-lite {bfr_lite.__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    subparsers = parser.add_subparsers(title="commands", metavar="<command>", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    0: done. 1: done in part, or a check failed. 2: wrong use or unusable input, said in one line on stderr
    (with ``--debug``, the exception itself). 130: interrupted. 141: nobody reads on.
    """
    args = build_parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a pipe under Windows may know no arrow, and a table has some
    try:
        code = args.run(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("bfr-lite: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` for one, has seen enough; the rest must not be flushed at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError, ModuleNotFoundError) as error:
        if args.debug:
            raise
        print(printable(f"bfr-lite: error: {str(error) or type(error).__name__}"), file=sys.stderr)
        return 2
