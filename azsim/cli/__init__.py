"""The command line.  Everything heavy is imported by the command that needs it.

A module holds a group of commands; `build_parser` says what they take.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Sequence

from azsim.arguments import build_parser
from azsim.cli.terminal import BAD_INPUT, INTERRUPTED
from azsim.errors import AzsimError

__all__ = ["build_parser", "main"]

_BROKEN_PIPE = 141

# Module and function of each command.
_COMMANDS = {
    "asm": ("programs", "asm"),
    "check": ("programs", "check"),
    "codecs": ("codecs", "codecs"),
    "compare": ("compare", "compare"),
    "compile": ("compile", "compile_"),
    "completion": ("lists", "completion"),
    "corpus": ("corpus", "corpus"),
    "disasm": ("programs", "disasm"),
    "export": ("inspect", "export"),
    "inspect": ("inspect", "inspect"),
    "list": ("lists", "list_"),
    "report": ("report", "report"),
    "run": ("run", "run"),
    "schema": ("lists", "schema"),
    "study": ("study", "study"),
    "sweep": ("sweep", "sweep"),
    "sweep export": ("sweep", "export"),
    "sweep report": ("sweep", "report"),
    "train": ("train", "train"),
    "verify": ("run", "verify"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Returns
    -------
    int
        0 done, 1 a check failed, 2 bad input, 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # a terminal without UTF-8 shows "?"
            stream.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    words = list(sys.argv[1:] if arguments is None else arguments)
    if " ".join(words[:2]) in _COMMANDS:  # two words that are one command
        words[:2] = [" ".join(words[:2])]
    try:
        parser = build_parser()
        if not words:
            parser.print_help(sys.stderr)
            return BAD_INPUT
        parsed = parser.parse_args(words)
        with _caching(parsed):
            code = _run_command(parsed)
        sys.stdout.flush()
        return code
    except SystemExit as ending:  # --help and --version
        return int(ending.code or 0)
    except AzsimError as error:
        print(f"azsim: error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Who reads has enough; flushing at exit would complain again.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE


def _run_command(parsed: argparse.Namespace) -> int:
    module, function = _COMMANDS[parsed.command]
    return getattr(importlib.import_module(f"azsim.cli.{module}"), function)(parsed)


def _caching(arguments: argparse.Namespace) -> contextlib.AbstractContextManager[None]:
    if not getattr(arguments, "no_cache", False):
        return contextlib.nullcontext()
    from azsim.compiler.block_cache import without_cache

    return without_cache()
