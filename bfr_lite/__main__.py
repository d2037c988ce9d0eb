"""``python -m bfr_lite`` is ``bfr-lite``."""

import sys

from bfr_lite.cli import main

if __name__ == "__main__":
    sys.exit(main())
