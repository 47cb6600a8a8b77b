"""Every error that azsim raises on purpose, as one tree.

::

    AzsimError
    ├── InputError            what the user gave is wrong (exit code 2)
    │   ├── ConfigError       a YAML file: all its problems at once
    │   ├── UnsupportedError  a model asks for what azsim cannot do
    │   └── FetchError        a file could not be had, or has the wrong hash
    ├── IsaError              the instruction set or a program text
    │   ├── EncodeError
    │   ├── DecodeError
    │   └── AssemblyError
    ├── CompileError          a graph does not fit the machine
    ├── MachineError          the program did what the machine forbids
    └── CodecError            a compressed stream is malformed

Messages read *where: what is wrong, what was found, what is allowed*.  Anything else that
escapes is a bug, and shows its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

__all__ = [
    "AssemblyError",
    "AzsimError",
    "CodecError",
    "CompileError",
    "ConfigError",
    "DecodeError",
    "EncodeError",
    "FetchError",
    "InputError",
    "IsaError",
    "MachineError",
    "UnsupportedError",
    "unknown",
]


class AzsimError(Exception):
    """Base of every error that azsim raises on purpose."""


class InputError(AzsimError):
    """What the user gave is wrong."""


class ConfigError(InputError):
    """A configuration file is wrong; `problems` holds every sentence, one a problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class UnsupportedError(InputError):
    """A model asks for something that azsim cannot do."""


class FetchError(InputError):
    """A file could not be fetched, or is not the one that was pinned."""


class IsaError(AzsimError):
    """The instruction set's data, or a program written in it, is wrong."""


class EncodeError(IsaError):
    """Operands do not fit their fields."""


class DecodeError(IsaError):
    """A word is not an instruction."""


class AssemblyError(IsaError):
    """Assembly text cannot be read; the message starts with line and column."""


class CompileError(AzsimError):
    """A graph cannot be compiled for this hardware."""


class MachineError(AzsimError):
    """A program did what the machine forbids: out of bounds, unaligned, a race."""


class CodecError(AzsimError):
    """A compressed stream is malformed."""


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Say that there is no such name, with the nearest one and all of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown {what} {name!r}, {hint}allowed: {', '.join(names) or 'none'}"
