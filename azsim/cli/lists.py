"""``azsim list``, ``azsim schema`` and ``azsim completion``."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from azsim.arguments import build_parser, shell_functions
from azsim.cli.terminal import show_tables

__all__ = ["completion", "list_", "schema"]


def list_(arguments: argparse.Namespace) -> int:
    """Show what there is to choose from."""
    from azsim.report.catalog import CATALOGS

    table = CATALOGS[arguments.kind]()
    if arguments.json:
        from azsim.report.json_text import json_text

        sys.stdout.write(json_text(table.records()))
    else:
        show_tables([table])
    return 0


def schema(arguments: argparse.Namespace) -> int:
    """Print the JSON schema of a kind of file."""
    from azsim.report.json_text import json_text
    from azsim.sweeps.schemas import SCHEMAS

    sys.stdout.write(json_text(SCHEMAS[arguments.kind]()))
    return 0


def completion(arguments: argparse.Namespace) -> int:
    """Print the completion script of a shell."""
    import shtab

    functions: Any = shell_functions()  # shtab's stubs know one shell's text only
    sys.stdout.write(
        shtab.complete(build_parser(joined=False), arguments.shell, preamble=functions) + "\n"
    )
    return 0
