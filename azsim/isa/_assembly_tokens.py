"""Lines of assembly to tokens, and tokens to values, each wrong one with its column."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from azsim.errors import EncodeError
from azsim.isa.encode import pack_value
from azsim.isa.spec import Field, instruction_set

__all__ = [
    "BARE",
    "LABEL",
    "REGISTERS",
    "SCALAR",
    "LineError",
    "Token",
    "read_count",
    "read_enum",
    "read_integer",
    "read_number",
    "read_operand",
    "read_period",
    "read_positive",
    "read_shape",
    "read_strides",
    "read_switch",
    "register_name",
    "tokens_of",
]

BARE = r"[A-Za-z0-9_.:/+$@%~-]+"
LABEL = r"[A-Za-z_][A-Za-z0-9_]*"
REGISTERS = {"view": "v", "scalar": "s"}
SCALAR = "scalar"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_TOKEN = re.compile(rf"\s*(?:(?P<comment>;.*)|(?:(?P<key>\w+)=)?(?P<value>{_QUOTED}|{BARE}))")


class LineError(Exception):
    """One thing wrong with one line."""

    def __init__(self, column: int, sentence: str) -> None:
        super().__init__(sentence)
        self.column = column
        self.sentence = sentence


@dataclass(frozen=True)
class Token:
    """A word of a line, ``value`` or ``key=value``, with its column and that of its value."""

    column: int
    key: str | None
    value: str
    value_column: int


def tokens_of(line: str) -> list[Token]:
    """Cut a line into its words; what follows a ``;`` is left out.

    Raises
    ------
    LineError
        At the first thing that is no word.
    """
    tokens, at = [], 0
    end = len(line.rstrip())
    while at < end:
        match = _TOKEN.match(line, at)
        if match is None:
            column = at + len(line[at:]) - len(line[at:].lstrip()) + 1
            raise LineError(column, f"cannot read '{line[column - 1 : end][:20]}'")
        at = match.end()
        if match["comment"] is not None:
            break
        value, start = match["value"], match.start("value")
        if value.startswith('"'):
            try:
                value = json.loads(value)
            except json.JSONDecodeError as error:
                raise LineError(start + 1, f"not a JSON string: {error.msg}") from None
        if at < end and not line[at].isspace() and line[at] != ";":
            raise LineError(at + 1, f"got '{line[at]}', expected a space")
        column = match.start("key" if match["key"] is not None else "value") + 1
        tokens.append(Token(column, match["key"], value, start + 1))
    return tokens


# Readers of values; each raises `EncodeError` with a sentence that has no place.


def read_integer(text: str) -> int:
    """Decimal, or with ``0x``."""
    try:
        return int(text, 0)
    except ValueError:
        raise EncodeError(f"got '{text}', expected an integer") from None


def read_count(text: str) -> int:
    """An integer from 0."""
    return _at_least(0, text)


def read_positive(text: str) -> int:
    """An integer from 1."""
    return _at_least(1, text)


def _at_least(least: int, text: str) -> int:
    value = read_integer(text)
    if value < least:
        raise EncodeError(f"got {value}, allowed is {least} and more")
    return value


def read_period(text: str) -> float | None:
    """Seconds, or ``none``."""
    if text == "none":
        return None
    value = read_number(text)
    if not 0 < value < math.inf:
        raise EncodeError(f"got {text}, allowed are seconds above 0, and none")
    return value


def read_number(text: str) -> float:
    """Any float."""
    try:
        return float(text)
    except ValueError:
        raise EncodeError(f"got '{text}', expected a number") from None


def read_switch(text: str) -> bool:
    """0 or 1."""
    if text not in ("0", "1"):
        raise EncodeError(f"got '{text}', allowed are 0, 1")
    return text == "1"


def read_shape(text: str) -> tuple[int, ...]:
    """``4x8``, or ``scalar``."""
    return () if text == SCALAR else tuple(read_count(part) for part in text.split("x"))


def read_strides(text: str) -> tuple[int, ...]:
    """As `read_shape`, for bytes that may be negative."""
    return () if text == SCALAR else tuple(read_integer(part) for part in text.split("x"))


def read_enum(name: str) -> Callable[[str], str]:
    """Reader of the names of an operand's values."""

    def read(text: str) -> str:
        pack_value(instruction_set().fields[name], text)
        return text

    return read


def register_name(operand: Field, text: str) -> bool:
    """Whether a text names a register, rather than giving its number."""
    letters = "".join(REGISTERS.values())
    return (
        operand.unit in REGISTERS
        and re.fullmatch(LABEL, text) is not None
        and re.fullmatch(rf"[{letters}]\d+", text) is None
    )


def read_operand(operand: Field, text: str) -> int | float | str:
    """Value of an operand's text, checked against its field."""
    value: int | float | str
    if operand.kind == "enum":
        value = text
    elif operand.kind == "float":
        # A person writes decimal: the nearest float32 is meant.
        number = read_number(text)
        with np.errstate(over="ignore"):
            value = float(np.float32(number))
        if math.isinf(value) and not math.isinf(number):
            value = number
    elif operand.unit in REGISTERS:
        letter = REGISTERS[operand.unit]
        if not re.fullmatch(rf"{letter}\d+", text):
            raise EncodeError(
                f"got '{text}', expected a {operand.unit}, {letter}{operand.minimum} to "
                f"{letter}{operand.maximum}"
            )
        value = int(text[1:])
    else:
        value = read_integer(text)
    pack_value(operand, value)
    return value
