"""``python -m azsim``: the same as ``azsim``."""

from __future__ import annotations

import sys

from azsim.cli import main

if __name__ == "__main__":
    sys.exit(main())
