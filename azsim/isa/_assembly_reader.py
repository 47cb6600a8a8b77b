"""The reader behind `azsim.isa.assembly`: one line at a time, to tokens, to a program's parts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from azsim.errors import EncodeError
from azsim.isa.control_flow import check_control_flow
from azsim.isa.encode import canonical, nearest, pack_value
from azsim.isa.program import Instruction, Port, Program, Region, Stream, Tap
from azsim.isa.spec import Field, instruction_set

__all__ = ["BARE", "LABEL", "REGISTERS", "SCALAR", "LineError", "Reader"]

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
class _Token:
    column: int
    key: str | None
    value: str
    value_column: int


def _tokens(line: str) -> list[_Token]:
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
        tokens.append(_Token(column, match["key"], value, start + 1))
    return tokens


def _integer(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise EncodeError(f"got '{text}', expected an integer") from None


def _period(text: str) -> float | None:
    return None if text == "none" else _number(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise EncodeError(f"got '{text}', expected a number") from None


def _switch(text: str) -> bool:
    if text not in ("0", "1"):
        raise EncodeError(f"got '{text}', allowed are 0, 1")
    return text == "1"


def _shape(text: str) -> tuple[int, ...]:
    return () if text == SCALAR else tuple(_integer(part) for part in text.split("x"))


def _enum(name: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        pack_value(instruction_set().fields[name], text)
        return text

    return read


_PORT = {"addr": _integer, "shape": _shape, "frames": _integer}
_DIRECTIVES: dict[str, tuple[bool | None, dict[str, Callable[[str], Any]]]] = {
    # whether a name follows (None: it may), and the keys, all of which are needed
    ".program": (True, {}),
    ".stream": (False, {"frames": _integer, "period_s": _period, "paced": _switch}),
    ".input": (True, _PORT),
    ".output": (True, _PORT),
    ".layer": (True, {}),
    ".in": (None, {}),
    ".region": (
        True,
        {
            "space": _enum("space"),
            "start": _integer,
            "size": _integer,
            "dtype": _enum("dtype"),
            "first": _integer,
            "last": _integer,
        },
    ),
    ".tap": (True, {"index": _integer, "addr": _integer, "shape": _shape, "strides": _shape}),
}


@dataclass(frozen=True)
class _Use:
    """An instruction that names a label."""

    line: int
    column: int
    index: int
    label: str


@dataclass
class Reader:
    """What has been read so far."""

    name: str
    layer: int = -1
    layers_seen: bool = False
    stream: Stream = field(default_factory=lambda: Program("", ()).stream)
    problems: list[str] = field(default_factory=list)
    instructions: list[Instruction] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    layer_of: list[int] = field(default_factory=list)
    region_of_view: dict[int, str] = field(default_factory=dict)
    regions: list[Region] = field(default_factory=list)
    taps: list[Tap] = field(default_factory=list)
    inputs: list[Port] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    line: int = 0
    places: list[tuple[int, dict[str, int]]] = field(default_factory=list)
    """Of each instruction: its line, and the columns of its mnemonic ("") and of its operands."""
    _uses: list[_Use] = field(default_factory=list)

    def program(self) -> Program:
        return Program(
            name=self.name,
            instructions=tuple(self.instructions),
            layers=tuple(self.layers),
            layer_of=tuple(self.layer_of) if self.layers_seen else (),
            region_of_view=MappingProxyType(self.region_of_view),
            regions=tuple(self.regions),
            taps=tuple(self.taps),
            inputs=tuple(self.inputs),
            outputs=tuple(self.outputs),
            stream=self.stream,
        )

    def resolve(self) -> None:
        """Put the labels' places where instructions name them; after the last line."""
        for use in self._uses:
            place = self.labels.get(use.label)
            if place is None:
                hint = nearest(use.label, self.labels)
                self.problems.append(
                    f"{use.line}:{use.column}: target: no label '{use.label}'{hint}"
                )
                continue
            old = self.instructions[use.index]
            operands = {**old.operands, "target": place}
            self.instructions[use.index] = canonical(Instruction(old.mnemonic, operands))

    def check_control_flow(self) -> None:
        """Find what keeps the program from ever running to its halt; after `resolve`."""
        for index, operand, sentence in check_control_flow(self.instructions):
            line, columns = self.places[index] if self.places else (1, {"": 1})
            column = columns.get(operand, columns[""])
            self.problems.append(f"{line}:{column}: {sentence}")

    def read(self, line: str) -> None:
        """Read one line."""
        self.line += 1
        tokens = _tokens(line)
        if not tokens:
            return
        head = tokens[0]
        if head.key is None and re.fullmatch(LABEL + ":", head.value):
            label = head.value[:-1]
            if label in self.labels:
                raise LineError(head.column, f"label '{label}' is set twice")
            self.labels[label] = len(self.instructions)
            tokens = tokens[1:]
            if not tokens:
                return
            head = tokens[0]
        if head.key is not None:
            raise LineError(head.column, f"got '{head.key}=', expected a mnemonic or directive")
        if head.value.startswith("."):
            self._directive(head, tokens[1:])
        else:
            self._instruction(head, tokens[1:])

    def _directive(self, head: _Token, tokens: list[_Token]) -> None:
        if head.value not in _DIRECTIVES:
            hint = nearest(head.value, _DIRECTIVES)
            raise LineError(head.column, f"no such directive '{head.value}'{hint}")
        named, readers = _DIRECTIVES[head.value]
        name = None
        if tokens and tokens[0].key is None and named is not False:
            name, tokens = tokens[0].value, tokens[1:]
        elif named:
            raise LineError(head.column, f"{head.value}: a name is missing")
        values: dict[str, Any] = {}
        for token in tokens:
            reader = readers.get(token.key or "")
            if reader is None:
                self._unknown(token, head.value, readers)
            elif token.key in values:
                raise LineError(token.column, f"{head.value}: {token.key}: is given twice")
            else:
                try:
                    values[token.key or ""] = reader(token.value)
                except EncodeError as error:
                    place = f"{head.value}: {token.key}"
                    raise LineError(token.value_column, f"{place}: {error}") from None
        for key in readers:
            if key not in values:
                raise LineError(head.column, f"{head.value}: {key}: is missing")
        self._apply(head, name, values)

    @staticmethod
    def _unknown(token: _Token, where: str, known: Iterable[str]) -> None:
        if token.key is None:
            sentence = f"got '{token.value}', expected key=value"
        else:
            sentence = f"{token.key}: no such operand{nearest(token.key, known)}"
        raise LineError(token.column, f"{where}: {sentence}")

    def _apply(self, head: _Token, name: str | None, values: dict[str, Any]) -> None:
        match head.value:
            case ".program":
                self.name = name or ""
            case ".stream":
                self.stream = Stream(**values)
            case ".input":
                self.inputs.append(Port(name or "", **values))
            case ".output":
                self.outputs.append(Port(name or "", **values))
            case ".layer":
                if name in self.layers:
                    raise LineError(head.column, f".layer: '{name}' is declared twice")
                self.layers.append(name or "")
            case ".in":
                if name is not None and name not in self.layers:
                    hint = nearest(name, self.layers)
                    raise LineError(head.column, f".in: no layer '{name}' is declared{hint}")
                self.layers_seen = True
                self.layer = -1 if name is None else self.layers.index(name)
            case ".region":
                start_bytes, size_bytes = values.pop("start"), values.pop("size")
                self.regions.append(
                    Region(name or "", start_bytes=start_bytes, size_bytes=size_bytes, **values)
                )
            case ".tap":
                strides_bytes = values.pop("strides")
                self.taps.append(Tap(tensor=name or "", strides_bytes=strides_bytes, **values))

    def _instruction(self, head: _Token, tokens: list[_Token]) -> None:
        table = instruction_set().instructions
        spec = table.get(head.value)
        if spec is None:
            hint = nearest(head.value, table)
            raise LineError(head.column, f"no such instruction '{head.value}'{hint}")
        operands: dict[str, int | float | str] = {}
        region = None
        for token in tokens:
            key = token.key or ""
            if key in operands or (key == "region" and region is not None):
                raise LineError(token.column, f"{head.value}: {key}: is given twice")
            if key == "region" and head.value == "view":
                region = token.value
                continue
            operand = spec.operands.get(key)
            if operand is None:
                self._unknown(token, head.value, spec.operands)
                continue
            if operand.unit == "instruction" and re.fullmatch(LABEL, token.value):
                number = len(self.instructions)
                self._uses.append(_Use(self.line, token.value_column, number, token.value))
                operands[key] = 0
                continue
            try:
                operands[key] = _operand_value(operand, token.value)
            except EncodeError as error:
                place = f"{head.value}: {key}"
                raise LineError(token.value_column, f"{place}: {error}") from None
        try:
            instruction = canonical(Instruction(head.value, operands))
        except EncodeError as error:
            raise LineError(head.column, str(error)) from None
        if region is not None:
            self.region_of_view[len(self.instructions)] = region
        columns = {token.key or "": token.value_column for token in tokens}
        self.places.append((self.line, {**columns, "": head.column}))
        self.instructions.append(instruction)
        self.layer_of.append(self.layer)


def _operand_value(operand: Field, text: str) -> int | float | str:
    """Value of an operand's text, checked against its field."""
    value: int | float | str
    if operand.kind == "enum":
        value = text
    elif operand.kind == "float":
        # A person writes decimal: the nearest float32 is meant.
        number = _number(text)
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
        value = _integer(text)
    pack_value(operand, value)
    return value
