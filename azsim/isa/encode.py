"""Instructions to 128-bit words and back.

The encoding is canonical: an operand whose value is its default is the same as one that is
absent, its bits are zero, and decoding leaves it out.  So any 16 bytes are either rejected or
encode again to themselves.
"""

from __future__ import annotations

import difflib
import math
import operator
import struct
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from azsim.errors import DecodeError, EncodeError
from azsim.isa.program import Instruction, Program
from azsim.isa.spec import Field, InstructionSpec, instruction_set

__all__ = [
    "WORD_BYTES",
    "canonical",
    "decode",
    "decode_words",
    "encode",
    "encode_program",
    "nearest",
    "pack_value",
]

WORD_BYTES = 16


def encode(instruction: Instruction) -> bytes:
    """Encode one instruction.

    Parameters
    ----------
    instruction : Instruction
        Operands may be left out where they have their default.

    Returns
    -------
    bytes
        16 bytes, little endian.

    Raises
    ------
    EncodeError
        Naming mnemonic, field, value and allowed range.
    """
    return _word_of(instruction).to_bytes(WORD_BYTES, "little")


def decode(word: bytes) -> Instruction:
    """Decode one word.

    Parameters
    ----------
    word : bytes
        16 bytes, little endian.

    Returns
    -------
    Instruction
        With the operands that do not have their default.

    Raises
    ------
    DecodeError
        If the word has another length, an unknown opcode, reserved bits that are not zero, or
        an operand that has no such value.
    """
    if len(word) != WORD_BYTES:
        raise DecodeError(f"word: got {len(word)} bytes, expected {WORD_BYTES}")
    return _instruction_of(int.from_bytes(word, "little"))


def encode_program(program: Program) -> np.ndarray:
    """Encode all instructions.

    Returns
    -------
    ndarray of shape (instructions, 2), uint64
        Low and high half of each word.

    Raises
    ------
    EncodeError
        Naming the instruction's index before the sentence of `encode`.
    """
    words = bytearray()
    for index, instruction in enumerate(program.instructions):
        try:
            words += _word_of(instruction).to_bytes(WORD_BYTES, "little")
        except EncodeError as error:
            raise EncodeError(f"instruction {index}: {error}") from None
    return np.frombuffer(bytes(words), dtype="<u8").reshape(-1, 2)


def decode_words(words: np.ndarray) -> tuple[Instruction, ...]:
    """Decode what `encode_program` gave.

    Parameters
    ----------
    words : ndarray of shape (instructions, 2), uint64

    Raises
    ------
    DecodeError
        Naming the instruction's index before the sentence of `decode`.
    """
    data = np.ascontiguousarray(words, dtype="<u8").tobytes()
    instructions = []
    for start in range(0, len(data), WORD_BYTES):
        try:
            instructions.append(decode(data[start : start + WORD_BYTES]))
        except DecodeError as error:
            raise DecodeError(f"instruction {start // WORD_BYTES}: {error}") from None
    return tuple(instructions)


def canonical(instruction: Instruction) -> Instruction:
    """The same instruction with exactly the operands that `decode` would give.

    Raises
    ------
    EncodeError
        As `encode`.
    """
    return _instruction_of(_word_of(instruction))


def pack_value(field: Field, value: Any) -> int:
    """Stored bits of an operand, not yet moved to the field's place.

    Parameters
    ----------
    field : Field
    value : int, float or str
        By the field's kind: enums by name, floats exactly a float32 number.

    Raises
    ------
    EncodeError
        ``got ..., allowed is ...``, without a place.
    """
    if field.kind == "enum":
        number = field.values.get(value) if isinstance(value, str) else None
        if number is None:
            raise EncodeError(f"got {value!r}, allowed are {', '.join(field.values)}")
        return number
    if field.kind == "float":
        return _float_bits(value)
    try:
        number = operator.index(value)
    except TypeError:
        raise EncodeError(
            f"got {value!r}, allowed is an integer from {field.minimum} to {field.maximum}"
        ) from None
    if not field.minimum <= number <= field.maximum:
        raise EncodeError(f"got {number}, allowed is {field.minimum} to {field.maximum}")
    return (number - field.bias) & ((1 << field.width) - 1)


def _float_bits(value: Any) -> int:
    try:
        number = float(value) if not isinstance(value, str) else math.nan
        bits = struct.pack("<f", number)
    except (TypeError, ValueError, OverflowError):
        number, bits = math.nan, b""
    if math.isnan(number) or struct.unpack("<f", bits)[0] != number:
        raise EncodeError(f"got {value!r}, allowed is a float32 number")
    return int.from_bytes(bits, "little")


def _word_of(instruction: Instruction) -> int:
    mnemonic, operands = instruction.mnemonic, instruction.operands
    table = instruction_set()
    spec = table.instructions.get(mnemonic)
    if spec is None:
        raise EncodeError(f"{mnemonic}: no such instruction{nearest(mnemonic, table.instructions)}")
    word = spec.opcode << table.fields["opcode"].low
    fields = spec.operands
    for name, value in operands.items():
        field = fields.get(name)
        if field is None:
            raise EncodeError(f"{mnemonic}: {name}: no such operand{nearest(name, fields)}")
        try:
            word |= pack_value(field, value) << field.low
        except EncodeError as error:
            raise EncodeError(f"{mnemonic}: {name}: {error}") from None
    _require(spec, operands)
    return word


def _require(spec: InstructionSpec, operands: Mapping[str, Any]) -> None:
    """Reject an absent operand whose default is not allowed."""
    for name, field in spec.operands.items():
        if field.minimum > field.bias and name not in operands:
            raise EncodeError(
                f"{spec.mnemonic}: {name}: is missing, allowed is "
                f"{field.minimum} to {field.maximum}"
            )


def _instruction_of(word: int) -> Instruction:
    table = instruction_set()
    field = table.fields["opcode"]
    opcode = (word & field.mask) >> field.low
    spec = table.by_opcode.get(opcode)
    if spec is None:
        raise DecodeError(f"opcode: got {opcode:#04x}, which is no instruction")
    if reserved := word & ~spec.mask:
        raise DecodeError(f"{spec.mnemonic}: reserved bits are not zero, got {reserved:#x}")
    operands: dict[str, int | float | str] = {}
    for name, field in spec.operands.items():
        stored = (word & field.mask) >> field.low
        if stored or field.minimum > field.bias:
            operands[name] = _unpack_value(spec, field, stored)
    return Instruction(spec.mnemonic, MappingProxyType(operands))


def _unpack_value(spec: InstructionSpec, field: Field, stored: int) -> int | float | str:
    place = f"{spec.mnemonic}: {field.name}"
    if field.kind == "enum":
        if stored not in field.names:
            allowed = ", ".join(f"{number} ({name})" for number, name in field.names.items())
            raise DecodeError(f"{place}: got {stored}, allowed are {allowed}")
        return field.names[stored]
    if field.kind == "float":
        number = struct.unpack("<f", stored.to_bytes(4, "little"))[0]
        if math.isnan(number):
            raise DecodeError(f"{place}: got {stored:#010x}, allowed is a float32 number")
        return number
    if field.kind == "int" and stored >> (field.width - 1):
        return stored - (1 << field.width)
    number = stored + field.bias
    if number < field.minimum:
        raise DecodeError(f"{place}: got {number}, allowed is {field.minimum} to {field.maximum}")
    return number


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` where a known name is near enough, else nothing."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""
