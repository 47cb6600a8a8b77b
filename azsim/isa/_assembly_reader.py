"""The reader behind `azsim.isa.assembly`: one line at a time, to a program's parts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from azsim.errors import EncodeError
from azsim.isa._assembly_directives import DATA_DIRECTIVES, DIRECTIVES, declared_data
from azsim.isa._assembly_tokens import (
    LABEL,
    REGISTERS,
    LineError,
    Token,
    read_count,
    read_integer,
    read_operand,
    read_positive,
    register_name,
    tokens_of,
)
from azsim.isa.assembly_data import Data, place, view_operands
from azsim.isa.control_flow import check_control_flow
from azsim.isa.encode import canonical, nearest
from azsim.isa.program import Instruction, Program, Region, Stream, Tap
from azsim.isa.spec import Field, instruction_set

__all__ = ["Reader"]

_NUMBER_READERS = (read_count, read_integer, read_positive)
_OFFSET = re.compile(rf"(.+)\+(0x[0-9a-fA-F]+|\d+|{LABEL})")


@dataclass(frozen=True)
class _Use:
    """An operand that is a name: of a label, of a register or of data."""

    line: int
    column: int
    index: int
    operand: Field
    name: str
    is_set: bool = False


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
    declared: list[Data] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    constants: dict[str, int] = field(default_factory=dict)
    line: int = 0
    places: list[tuple[int, dict[str, int]]] = field(default_factory=list)
    """Of each instruction: its line, and the columns of its mnemonic ("") and of its operands."""
    _uses: list[_Use] = field(default_factory=list)
    _views: list[tuple[_Use, dict[str, int | float | str]]] = field(default_factory=list)
    _numbers: set[tuple[str, int]] = field(default_factory=lambda: {("scalar", 0)})
    _broken: set[str] = field(default_factory=set)
    """Names that lines which cannot be read would have set: nothing more is said of them."""

    # ---- after the last line

    def resolve(self) -> None:
        """Put the places of labels and the numbers of registers where instructions name them."""
        registers = self._name_registers()
        for use in self._uses:
            unit = use.operand.unit or ""
            known = self.labels if unit == "instruction" else registers[unit]
            if use.name in known:
                self._set(use.index, use.operand.name, known[use.name])
                continue
            if use.name in self._broken:
                continue
            hint = nearest(use.name, known)
            sentence = f"no label '{use.name}'"
            if unit != "instruction":
                mnemonic = self.instructions[use.index].mnemonic
                sentence = f"no {unit} is set by the name '{use.name}'"
                self._problem(use, f"{mnemonic}: {use.operand.name}: {sentence}{hint}")
            else:
                self._problem(use, f"{use.operand.name}: {sentence}{hint}")
        self._check_data()

    def _problem(self, use: _Use | Data, sentence: str) -> None:
        self.problems.append(f"{use.line}:{use.column}: {sentence}")

    def _set(self, index: int, operand: str, value: int) -> None:
        old = self.instructions[index]
        self.instructions[index] = canonical(
            Instruction(old.mnemonic, {**old.operands, operand: value})
        )

    def _name_registers(self) -> dict[str, dict[str, int]]:
        """Numbers of the registers that have names: the first that the text leaves free."""
        numbers: dict[str, dict[str, int]] = {unit: {} for unit in REGISTERS}
        for use in self._uses:
            unit = use.operand.unit or ""
            if not use.is_set or use.name in numbers[unit]:
                continue
            taken = {number for kind, number in self._numbers if kind == unit}
            taken.update(numbers[unit].values())
            free = [n for n in range(use.operand.maximum + 1) if n not in taken]
            if free:
                numbers[unit][use.name] = free[0]
            else:
                self._problem(use, f"{use.name}: no {unit} register is left for this name")
        return numbers

    def _check_data(self) -> None:
        """Find data and regions of one name, and names of data that there is none of."""
        first: dict[str, Data] = {}
        for data in self.declared:
            other = first.setdefault(data.name, data)
            is_port = {data.kind, other.kind} <= {"input", "output"}
            if other is not data and not (is_port and None not in (data.addr, other.addr)):
                sentence = f"'{data.name}' is declared twice, first in line {other.line}"
                self._problem(data, f".{data.kind}: {sentence}")
            known = [entry.name for entry in self.declared if entry.like is None]
            if data.like is not None and data.like not in {*known, *self._broken}:
                sentence = f"like: no data '{data.like}' is declared{nearest(data.like, known)}"
                self._problem(data, f".buffer: {sentence}")
        for region in {region.name for region in self.regions} & first.keys():
            if self._has_region(first[region]):
                data = first[region]
                self._problem(data, f".{data.kind}: a region is named '{region}' too")
        for use, _ in self._views:
            name, _ = self._data_of(use.name)
            if name not in {*first, *self._broken}:
                self._problem(
                    use, f"view: addr: no data '{name}' is declared{nearest(name, first)}"
                )

    def _data_of(self, text: str) -> tuple[str, int]:
        """Name and offset of ``name`` or ``name+8``."""
        match = _OFFSET.fullmatch(text)
        if match is None or any(data.name == text for data in self.declared):
            return text, 0
        if match[2] in self.constants:
            return match[1], self.constants[match[2]]
        return (match[1], int(match[2], 0)) if match[2][0].isdecimal() else (text, 0)

    @staticmethod
    def _has_region(data: Data) -> bool:
        """Whether data is a region by itself; inputs and outputs with an address are not."""
        return data.kind == "buffer" or data.addr is None

    def check_control_flow(self) -> None:
        """Find what keeps the program from ever running to its halt; after `resolve`."""
        for index, operand, sentence in check_control_flow(self.instructions):
            line, columns = self.places[index] if self.places else (1, {"": 1})
            column = columns.get(operand, columns[""])
            self.problems.append(f"{line}:{column}: {sentence}")

    def program(self, block_bytes: Mapping[str, int]) -> tuple[Program, dict[str, Data]]:
        """Place the data and make the views of it; what is wrong goes to `problems`."""
        placed = place(self.declared, block_bytes)
        instructions = list(self.instructions)
        region_of_view = dict(self.region_of_view)
        for use, given in self._views:
            name, offset_bytes = self._data_of(use.name)
            register = instructions[use.index].operands.get("view", 0)
            try:
                operands = view_operands({**given, "view": register}, placed[name], offset_bytes)
                instructions[use.index] = canonical(Instruction("view", operands))
            except EncodeError as error:
                sentence = str(error).removeprefix("view: ")
                self._problem(use, f"view: {sentence}")
                continue
            if self._has_region(self._declared(name)):
                region_of_view.setdefault(use.index, name)
        count = len(instructions)
        own = [placed[d.name].region(count) for d in self.declared if self._has_region(d)]
        ports = {
            kind: tuple(
                (placed[data.name] if data.addr is None else data).port
                for data in self.declared
                if data.kind == kind
            )
            for kind in ("input", "output")
        }
        program = Program(
            name=self.name,
            instructions=tuple(instructions),
            layers=tuple(self.layers),
            layer_of=tuple(self.layer_of) if self.layers_seen else (),
            region_of_view=MappingProxyType(region_of_view),
            regions=(*self.regions, *own),
            taps=tuple(self.taps),
            inputs=ports["input"],
            outputs=ports["output"],
            stream=self.stream,
        )
        return program, placed

    def _declared(self, name: str) -> Data:
        return next(data for data in self.declared if data.name == name)

    # ---- line by line

    def read(self, line: str) -> None:
        """Read one line; what is wrong with it goes to `problems`."""
        self.line += 1
        tokens: list[Token] = []
        try:
            tokens = tokens_of(line)
            if tokens:
                self._statement(tokens)
        except LineError as problem:
            self.problems.append(f"{self.line}:{problem.column}: {problem.sentence}")
            names = tokens[1:2] if tokens and tokens[0].value in DATA_DIRECTIVES else tokens
            self._broken.update(t.value for t in names if t.key in (None, "view", "to"))

    def _statement(self, tokens: list[Token]) -> None:
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

    def _directive(self, head: Token, tokens: list[Token]) -> None:
        directive = DIRECTIVES.get(head.value)
        if directive is None:
            hint = nearest(head.value, DIRECTIVES)
            raise LineError(head.column, f"no such directive '{head.value}'{hint}")
        name, column = None, head.column
        if tokens and tokens[0].key is None and directive.is_named is not False:
            name, column, tokens = tokens[0].value, tokens[0].column, tokens[1:]
        elif directive.is_named:
            raise LineError(head.column, f"{head.value}: a name is missing")
        values: dict[str, Any] = {}
        readers = {**directive.needed, **directive.optional}
        columns = {"": column}
        for token in tokens:
            key = token.key or ""
            reader = readers.get(key, directive.others if key else None)
            if reader is None:
                self._unknown(token, head.value, readers)
            elif key in values:
                raise LineError(token.column, f"{head.value}: {key}: is given twice")
            else:
                text = self._number(token.value) if reader in _NUMBER_READERS else token.value
                try:
                    values[key] = reader(text)
                except EncodeError as error:
                    raise LineError(token.value_column, f"{head.value}: {key}: {error}") from None
                columns[key] = token.value_column
        for key in directive.needed:
            if key not in values:
                raise LineError(head.column, f"{head.value}: {key}: is missing")
        if head.value in DATA_DIRECTIVES:
            self.declared.append(declared_data(head.value, name or "", values, columns, self.line))
        else:
            self._apply(head, name, values)

    @staticmethod
    def _unknown(token: Token, where: str, known: Iterable[str]) -> None:
        if token.key is None:
            sentence = f"got '{token.value}', expected key=value"
        else:
            sentence = f"{token.key}: no such operand{nearest(token.key, known)}"
        raise LineError(token.column, f"{where}: {sentence}")

    def _view_all(self, head: Token) -> None:
        """Emit a ``view`` of its own name for all data so far that has none of that name."""
        known = {use.name for use in self._uses if use.is_set}
        field = instruction_set().fields["view"]
        for name in dict.fromkeys(data.name for data in self.declared):
            if not register_name(field, name):
                raise LineError(head.column, f".views: '{name}' cannot be the name of a register")
            if name not in known:
                words = [(key, name) for key in ("view", "addr")]
                self._instruction(
                    Token(head.column, None, "view", head.column),
                    [Token(head.column, key, value, head.column) for key, value in words],
                )

    def _number(self, text: str) -> str:
        """A number, or the constant that a text names."""
        return str(self.constants.get(text, text))

    def _apply(self, head: Token, name: str | None, values: dict[str, Any]) -> None:
        match head.value:
            case ".program":
                self.name = name or ""
            case ".constant":
                if name in self.constants:
                    raise LineError(head.column, f".constant: '{name}' is given twice")
                self.constants[name or ""] = values["value"]
            case ".views":
                self._view_all(head)
            case ".stream":
                self.stream = Stream(**values)
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

    def _instruction(self, head: Token, tokens: list[Token]) -> None:
        table = instruction_set().instructions
        spec = table.get(head.value)
        if spec is None:
            hint = nearest(head.value, table)
            raise LineError(head.column, f"no such instruction '{head.value}'{hint}")
        operands: dict[str, int | float | str] = {}
        uses: list[_Use] = []
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
            if _is_name(operand, token.value):
                is_set = key == "to" or (head.value == "view" and key == "view")
                place = (self.line, token.value_column, len(self.instructions))
                uses.append(_Use(*place, operand, token.value, is_set))
                operands[key] = 0
                continue
            is_number = operand.kind in ("int", "uint") and operand.unit not in REGISTERS
            text = self._number(token.value) if is_number else token.value
            try:
                operands[key] = read_operand(operand, text)
            except EncodeError as error:
                hint = nearest(text, self.constants) if is_number else ""
                sentence = f"{head.value}: {key}: {error}{hint}"
                raise LineError(token.value_column, sentence) from None
            if operand.unit in REGISTERS:
                self._numbers.add((operand.unit, int(operands[key])))
        try:
            instruction = canonical(Instruction(head.value, operands))
        except EncodeError as error:
            raise LineError(head.column, str(error)) from None
        for use in uses:
            if use.operand.name == "addr":
                given = {key: value for key, value in operands.items() if key != "addr"}
                self._views.append((use, given))
            else:
                self._uses.append(use)
        if region is not None:
            self.region_of_view[len(self.instructions)] = region
        columns = {token.key or "": token.value_column for token in tokens}
        self.places.append((self.line, {**columns, "": head.column}))
        self.instructions.append(instruction)
        self.layer_of.append(self.layer)


def _is_name(operand: Field, text: str) -> bool:
    """Whether an operand's text is a name that is looked up when all lines are read."""
    if operand.unit == "instruction":
        return re.fullmatch(LABEL, text) is not None
    if operand.name == "addr":
        return not text[:1].isdecimal() and text[:1] not in ("-", "+")
    return register_name(operand, text)
