"""Read ``isa/*.yaml`` into frozen values, and reject data that contradicts itself.

``formats.yaml`` gives each operand field one position in the word; every other file lists the
instructions of one engine.  Encoder, decoder, assembler, manual and tests are loops over what
`instruction_set` returns.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from azsim.errors import IsaError
from azsim.resources import isa_directory

__all__ = [
    "Field",
    "InstructionSet",
    "InstructionSpec",
    "instruction_set",
    "load_instruction_set",
]

# libyaml where PyYAML was built with it: ten times faster, and the same events.
_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_FORMATS = "formats.yaml"
_KINDS = ("enum", "flag", "float", "int", "uint", "wait")
_FIXED_WIDTH = {"flag": 1, "float": 32}
_FIELD_KEYS = frozenset({"bias", "bits", "doc", "engine", "kind", "min", "unit", "values", "when"})
_INSTRUCTION_KEYS = frozenset(
    {"description", "example", "opcode", "operands", "summary", "timing", "writes"}
)
_OPTIONAL_KEYS = frozenset({"writes"})
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_BITS = re.compile(r"(\d+)\.\.(\d+)")


@dataclass(frozen=True)
class Field:
    """A named range of bits that has the same place in every instruction that has it.

    Attributes
    ----------
    name : str
    high, low : int
        Most and least significant bit, both included.
    kind : str
        ``uint``, ``int`` (two's complement), ``flag``, ``enum``, ``float`` (IEEE float32 bits)
        or ``wait``.
    doc : str
    unit : str or None
    bias : int
        The word holds the value minus this.
    minimum : int
        Smallest value allowed.
    maximum : int
        Largest value allowed.
    values : mapping of str to int
        Names of an enum.
    names : mapping of int to str
        The inverse of `values`.
    engine : str or None
        Engine that a ``wait`` field waits for.
    when : str or None
        Flag without which the operand is not looked at.
    """

    name: str
    high: int
    low: int
    kind: str
    doc: str
    unit: str | None
    bias: int
    minimum: int
    maximum: int
    values: Mapping[str, int]
    names: Mapping[int, str]
    engine: str | None
    when: str | None

    @property
    def width(self) -> int:
        """Number of bits."""
        return self.high - self.low + 1

    @property
    def mask(self) -> int:
        """The field's bits within the word."""
        return ((1 << self.width) - 1) << self.low

    @property
    def default(self) -> int | float | str:
        """What an absent operand stands for: the value whose stored bits are all zero."""
        if self.kind == "enum":
            return self.names[0]
        return 0.0 if self.kind == "float" else self.bias


@dataclass(frozen=True)
class InstructionSpec:
    """One instruction as its YAML entry states it.

    Attributes
    ----------
    mnemonic : str
    opcode : int
    engine : str
        ``control`` is the sequencer itself.
    operands : mapping of str to Field
        In the order of assembly text.
    writes : tuple of str
        Operands whose views are written; `dst` where the data does not say otherwise.
    summary, description, timing, example : str
        Prose for the manual.
    mask : int
        Bits that the opcode and the operands take; all others are reserved and zero.
    """

    mnemonic: str
    opcode: int
    engine: str
    operands: Mapping[str, Field]
    writes: tuple[str, ...]
    summary: str
    description: str
    timing: str
    example: str
    mask: int


@dataclass(frozen=True)
class InstructionSet:
    """All fields and instructions.

    Attributes
    ----------
    version : int
    word_bits : int
    byte_order : str
    fields : mapping of str to Field
        Every field, `opcode` included.
    instructions : mapping of str to InstructionSpec
        By mnemonic, in the order of opcodes.
    by_opcode : mapping of int to InstructionSpec
    """

    version: int
    word_bits: int
    byte_order: str
    fields: Mapping[str, Field]
    instructions: Mapping[str, InstructionSpec]
    by_opcode: Mapping[int, InstructionSpec]

    @property
    def engines(self) -> tuple[str, ...]:
        """Engines with a queue, in the order of their ``wait`` fields."""
        return tuple(field.engine for field in self.fields.values() if field.engine)


@functools.cache
def instruction_set() -> InstructionSet:
    """The instruction set that azsim carries, read once."""
    return load_instruction_set(isa_directory())


def load_instruction_set(directory: Path) -> InstructionSet:
    """Read and check the YAML files of a folder.

    Parameters
    ----------
    directory : Path
        Holds ``formats.yaml`` and one file for each engine.

    Returns
    -------
    InstructionSet

    Raises
    ------
    IsaError
        With every problem found, one a line, each naming file, mnemonic and field.
    """
    return _Check(directory).run()


class _StrictLoader(_BaseLoader):
    """Safe loader that refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key_node.value}' is given twice", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep=deep)


class _Check:
    """One reading of a folder: collects problems, so that all are told at once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.problems: list[str] = []
        self.word_bits = 0

    def run(self) -> InstructionSet:
        formats = self._read(self.directory / _FORMATS)
        head = {"version": int, "word_bits": int, "byte_order": str, "fields": dict}
        self._typed(_FORMATS, formats, head)
        self._stop()
        self.word_bits = formats["word_bits"]
        if self.word_bits != 128 or formats["byte_order"] != "little":
            self._problem(_FORMATS, "words are 128 bits, little endian; nothing else is known")
        fields = dict(self._fields(formats["fields"]))
        if "opcode" not in fields:
            self._problem(_FORMATS, "fields: field 'opcode' is missing")
        self._stop()

        instructions: dict[str, InstructionSpec] = {}
        for path in sorted(self.directory.glob("*.yaml")):
            if path.name != _FORMATS:
                for spec in self._instructions(path, fields):
                    if spec.mnemonic in instructions:
                        self._problem(path.name, f"{spec.mnemonic}: is in another file too")
                    instructions[spec.mnemonic] = spec
        self._check_opcodes(instructions, fields["opcode"].maximum)
        used = {name for spec in instructions.values() for name in spec.operands}
        for name in fields.keys() - used - {"opcode"}:
            self._problem(_FORMATS, f"{name}: no instruction uses this field")
        self._stop()
        ordered = sorted(instructions.values(), key=lambda spec: spec.opcode)
        return InstructionSet(
            version=formats["version"],
            word_bits=self.word_bits,
            byte_order=formats["byte_order"],
            fields=MappingProxyType(fields),
            instructions=MappingProxyType({spec.mnemonic: spec for spec in ordered}),
            by_opcode=MappingProxyType({spec.opcode: spec for spec in ordered}),
        )

    def _problem(self, file: str, sentence: str) -> None:
        self.problems.append(f"isa/{file}: {sentence}")

    def _stop(self) -> None:
        if self.problems:
            raise IsaError("\n".join(sorted(self.problems)))

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            content = yaml.load(path.read_bytes(), Loader=_StrictLoader)
        except OSError as error:
            raise IsaError(f"{path}: cannot be read, {error.strerror}") from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
            raise IsaError(f"isa/{path.name}{place}: {error.problem}") from error
        if not isinstance(content, dict):
            raise IsaError(f"isa/{path.name}: is not a mapping")
        return content

    def _typed(
        self,
        file: str,
        content: Mapping[str, Any],
        types: Mapping[str, type],
        where: str = "",
        required: frozenset[str] | None = None,
    ) -> bool:
        """Whether `content` has exactly the keys of `types`, each of its type."""
        before = len(self.problems)
        for key in content.keys() - types.keys():
            allowed = ", ".join(sorted(types))
            self._problem(file, f"{where}unknown key '{key}', allowed are {allowed}")
        for key, wanted in types.items():
            if key not in content:
                if required is None or key in required:
                    self._problem(file, f"{where}{key}: is missing")
            elif type(content[key]) is not wanted:
                got = content[key]
                self._problem(file, f"{where}{key}: got {got!r}, expected {wanted.__name__}")
        return len(self.problems) == before

    def _fields(self, entries: Mapping[str, Any]) -> Iterator[tuple[str, Field]]:
        types = dict.fromkeys(_FIELD_KEYS, str) | {"bias": int, "min": int, "values": dict}
        for name, entry in entries.items():
            where = f"{name}: "
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                self._problem(_FORMATS, f"{where}names are lower case letters, digits and _")
            elif not isinstance(entry, dict):
                self._problem(_FORMATS, f"{where}is not a mapping")
            else:
                required = frozenset({"bits", "kind", "doc"})
                if self._typed(_FORMATS, entry, types, where, required):
                    field = self._field(name, entry)
                    if field is not None:
                        yield name, field

    def _field(self, name: str, entry: Mapping[str, Any]) -> Field | None:
        before = len(self.problems)

        def problem(sentence: str) -> None:
            self._problem(_FORMATS, f"{name}: {sentence}")

        match, kind = _BITS.fullmatch(entry["bits"]), entry["kind"]
        high, low = (int(match[1]), int(match[2])) if match else (-1, 0)
        width = high - low + 1
        if not 0 <= low <= high < self.word_bits:
            last = self.word_bits - 1
            problem(f"bits: got '{entry['bits']}', expected 'high..low' within {last}..0")
        if kind not in _KINDS:
            problem(f"kind: got '{kind}', allowed are {', '.join(_KINDS)}")
        elif _FIXED_WIDTH.get(kind, width) != width:
            problem(f"bits: a {kind} takes {_FIXED_WIDTH[kind]} bits, got {width}")
        for key, owners in {"values": ("enum",), "engine": ("wait",), "bias": ("uint",)}.items():
            if key in entry and kind not in owners:
                problem(f"{key}: only for kind {owners[0]}, this is {kind}")
        if kind == "wait" and "engine" not in entry:
            problem("engine: is missing")
        values = entry.get("values", {})
        if kind == "enum":
            self._check_enum(problem, values, width)
        if len(self.problems) != before:
            return None

        bias = entry.get("bias", 0)
        lowest = -(1 << (width - 1)) if kind == "int" else bias
        highest = (1 << (width - (kind == "int"))) - 1 + bias
        minimum = entry.get("min", lowest)
        if not lowest <= minimum <= highest:
            problem(f"min: got {minimum}, allowed is {lowest} to {highest}")
        return Field(
            name=name,
            high=high,
            low=low,
            kind=kind,
            doc=entry["doc"],
            unit=entry.get("unit"),
            bias=bias,
            minimum=minimum,
            maximum=highest,
            values=MappingProxyType(dict(values)),
            names=MappingProxyType({number: text for text, number in values.items()}),
            engine=entry.get("engine"),
            when=entry.get("when"),
        )

    @staticmethod
    def _check_enum(problem: Callable[[str], None], values: Mapping[Any, Any], width: int) -> None:
        names: dict[int, str] = {}
        for text, number in values.items():
            if not isinstance(text, str):
                problem(f"values: got the name {text!r}, expected a string")
            elif type(number) is not int or not 0 <= number < 1 << width:
                problem(f"values.{text}: got {number!r}, allowed is 0 to {(1 << width) - 1}")
            elif number in names:
                problem(f"values.{text}: {number} is '{names[number]}' already")
            else:
                names[number] = text
        if 0 not in names:
            problem("values: no name for 0, which an absent operand stands for")

    def _instructions(self, path: Path, fields: Mapping[str, Field]) -> Iterator[InstructionSpec]:
        content = self._read(path)
        if not self._typed(path.name, content, {"engine": str, "instructions": dict}):
            return
        engine = content["engine"]
        engines = {"control", *(field.engine for field in fields.values() if field.engine)}
        if engine not in engines:
            allowed = ", ".join(sorted(engines))
            self._problem(path.name, f"engine: got '{engine}', allowed are {allowed}")
        elif engine != path.stem:
            self._problem(path.name, f"engine: got '{engine}', expected the file's name")
        types = dict.fromkeys(_INSTRUCTION_KEYS, str)
        types |= {"opcode": int, "operands": list, "writes": list}
        for mnemonic, entry in content["instructions"].items():
            where = f"{mnemonic}: "
            if not isinstance(mnemonic, str) or not _NAME.fullmatch(mnemonic):
                self._problem(path.name, f"{where}mnemonics are lower case letters, digits and _")
            elif not isinstance(entry, dict):
                self._problem(path.name, f"{where}is not a mapping")
            elif self._typed(path.name, entry, types, where, _INSTRUCTION_KEYS - _OPTIONAL_KEYS):
                operands = self._operands(path.name, mnemonic, entry["operands"], fields)
                mask = fields["opcode"].mask
                for field in operands.values():
                    mask |= field.mask
                writes = entry.get("writes", ["dst"] if "dst" in operands else [])
                for name in writes:
                    if name not in operands or operands[name].unit != "view":
                        self._problem(
                            path.name, f"{where}writes: '{name}' is no operand that is a view"
                        )
                yield InstructionSpec(
                    mnemonic=mnemonic,
                    opcode=entry["opcode"],
                    engine=engine,
                    operands=MappingProxyType(operands),
                    writes=tuple(writes),
                    summary=entry["summary"].strip(),
                    description=entry["description"].strip(),
                    timing=entry["timing"].strip(),
                    example=entry["example"].strip(),
                    mask=mask,
                )

    def _operands(
        self, file: str, mnemonic: str, names: list[Any], fields: Mapping[str, Field]
    ) -> dict[str, Field]:
        operands: dict[str, Field] = {}
        owner = dict.fromkeys(range(fields["opcode"].low, fields["opcode"].high + 1), "opcode")
        for name in names:
            field = fields.get(name) if isinstance(name, str) else None
            if field is None:
                self._problem(file, f"{mnemonic}: {name}: no such field in {_FORMATS}")
                continue
            if name in operands:
                self._problem(file, f"{mnemonic}: {name}: is listed twice")
                continue
            bits = range(field.low, field.high + 1)
            for other in sorted({owner[bit] for bit in bits if bit in owner}):
                self._problem(file, f"{mnemonic}: {name}: its bits overlap those of '{other}'")
            owner.update(dict.fromkeys(bits, name))
            operands[name] = field
        for name, field in operands.items():
            if field.when and field.when not in operands:
                self._problem(file, f"{mnemonic}: {name}: needs the operand '{field.when}'")
        return operands

    def _check_opcodes(self, instructions: Mapping[str, InstructionSpec], highest: int) -> None:
        taken: dict[int, str] = {}
        for spec in instructions.values():
            file, opcode = f"{spec.engine}.yaml", spec.opcode
            # 0 stays free, so that cleared memory is no program.
            if not 1 <= opcode <= highest:
                sentence = f"got {opcode}, allowed is 1 to {highest}"
                self._problem(file, f"{spec.mnemonic}: opcode: {sentence}")
            elif opcode in taken:
                self._problem(
                    file, f"{spec.mnemonic}: opcode: {opcode:#04x} is '{taken[opcode]}' already"
                )
            taken.setdefault(opcode, spec.mnemonic)
