"""Write the manual ``isa/README.md`` from the instruction set's data.

``python -m azsim.isa.reference`` in a checkout writes the file anew.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from azsim.errors import InputError
from azsim.isa.diagram import diagram
from azsim.isa.spec import Field, InstructionSet, InstructionSpec, instruction_set
from azsim.resources import checkout_root

__all__ = ["EXAMPLE", "manual", "write_manual"]

_WIDTH = 100

EXAMPLE = """\
.program triangle                           ; 1 + 2 + ... + n, for an n that is computed
.input n addr=0x0 shape=1x1 frames=1
.output sum addr=0x40 shape=1x1 frames=1

view view=v0 space=dram dtype=f32 addr=0x0
view view=v1 space=activation dtype=f32 addr=0x0
view view=v2 space=activation dtype=i32 addr=0x40
view view=v3 space=dram dtype=f32 addr=0x40
load dst=v1 src=v0
vector_convert wait_load=1 dst=v2 src=v1
scalar_read wait_vector=1 src=v2 to=s1      ; holds until n is there
again:
branch left=s1 right=s0 condition=less_equal target=done
scalar to=s2 left=s2 right=s1               ; s2 = s2 + s1
scalar to=s1 left=s1 number=-1              ; s1 = s1 - 1
branch target=again                         ; s0 equals s0: a jump
done:
scalar_write dst=v2 left=s2
vector_convert dst=v1 src=v2
store wait_vector=1 dst=v3 src=v1
halt
"""

_INTRODUCTION = """\
# Instruction set

Version {version}. Generated from the YAML files of this folder by `python -m azsim.isa.reference`;
change those, not this page.

## The word

An instruction is a word of {word_bits} bits, stored as {word_bytes} bytes in {byte_order}-endian
order. Every operand field has one place in the word, whatever the mnemonic; bits that an
instruction does not use are reserved, and a word where they are not zero is rejected. The encoding
is canonical: an operand that is left out has all its bits zero, which stands for 0, for the first
name of an enumeration, and for 1 where the word holds the value minus one (`rows`, `cols`).

In assembly text a line is the mnemonic, then `operand=value`; views are written `v3`, scalar
registers `s3`, and `;` begins a comment; `name:` sets a label that a branch can name.
`azsim.isa.assembly` describes the directives that carry the rest of a program.
[docs/kernels.md](../docs/kernels.md) says how to write and run one, with data and registers by
name.

## Engines

The sequencer fetches in program order, executes `control` instructions itself and dispatches the
others to the queue of their engine: {engines}. An engine works through its own queue in order;
engines run side by side, and nothing but the waits orders one after another. A program in which two
engines touch the same bytes, one of them writing, without a wait between them has a race, which is
an error.

## Waits

An instruction with an engine has a field `wait_<engine>` for each engine. 0 does not wait. n holds
the instruction back until that engine has completed all but the last n-1 of the instructions that
were dispatched to it before this one: 1 waits for everything so far, 2 lets the latest one still
run, which is what double buffering needs. `fence` waits for every engine at once.

## Views

Data operands are views, named by the number of one of 256 view registers. `view` sets a register
to a two-dimensional strided window into one memory: element (r, c) lies at
`addr` + (r * `row_stride` + c * `col_stride`) elements; a stride of 0 repeats a row or a column,
and elements of less than a byte are packed, low bits first. `view_step` moves the address. An
instruction takes the values of its views when it is dispatched, so that a register may be set again
while earlier instructions still run. An access has to stay inside one live region of the program.

## Loops

`loop count=n` ... `end_loop` runs its body n times; loops nest, up to 8 deep. Bodies walk through
memory with `view_step`. A program over a stream of frames is one loop, so its size does not grow
with the number of frames.

## A program

Labels, scalar registers and branches:

```
{example}```
"""


def manual(table: InstructionSet) -> str:
    """The manual as Markdown.

    Parameters
    ----------
    table : InstructionSet

    Returns
    -------
    str
        Ends with a line end.
    """
    engines = [f"`{engine}`" for engine in table.engines]
    introduction = _INTRODUCTION.format(
        version=table.version,
        word_bits=table.word_bits,
        word_bytes=table.word_bits // 8,
        byte_order=table.byte_order,
        engines=f"{', '.join(engines[:-1])} and {engines[-1]}",
        example=EXAMPLE,
    )
    lines = [introduction, "## Instructions", "", *_index(table)]
    for engine in ("control", *table.engines):
        lines += ["", f"## Engine `{engine}`"]
        for spec in table.instructions.values():
            if spec.engine == engine:
                lines += ["", *_section(table, spec)]
    lines += ["", "## Enumerations"]
    for field in table.fields.values():
        if field.values:
            lines += ["", *_enumeration(table, field)]
    return "\n".join(lines) + "\n"


def write_manual() -> None:
    """Write ``isa/README.md`` of the checkout that azsim runs from.

    Raises
    ------
    InputError
        If azsim runs from an installed wheel.
    """
    root = checkout_root()
    if root is None:
        raise InputError("azsim.isa.reference: runs in a checkout, this is an installed wheel")
    (root / "isa" / "README.md").write_text(manual(instruction_set()), encoding="utf-8")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield _row(head)
    yield _row("---" for _ in head)
    for row in rows:
        yield _row(row)


def _wrapped(text: str) -> str:
    return textwrap.fill(
        " ".join(text.split()), _WIDTH, break_long_words=False, break_on_hyphens=False
    )


def _index(table: InstructionSet) -> Iterator[str]:
    return _table(
        ("opcode", "mnemonic", "engine", "summary"),
        (
            (f"`{spec.opcode:#04x}`", f"[`{name}`](#{name})", spec.engine, spec.summary)
            for name, spec in table.instructions.items()
        ),
    )


def _section(table: InstructionSet, spec: InstructionSpec) -> Iterator[str]:
    yield f"### `{spec.mnemonic}`"
    yield ""
    yield _wrapped(f"**{spec.summary}** {spec.description}")
    yield ""
    yield f"```text\n{diagram(table, spec)}\n```"
    yield ""
    yield from _table(
        ("bits", "operand", "kind", "unit", "allowed", "meaning"), _encoding(table, spec)
    )
    yield ""
    yield _wrapped(f"Timing: {spec.timing}")
    yield ""
    yield f"```\n{spec.example}\n```"


def _encoding(table: InstructionSet, spec: InstructionSpec) -> Iterator[tuple[str, ...]]:
    """Rows for all bits of the word, most significant first."""
    opcode = table.fields["opcode"]
    yield (_bits(opcode.high, opcode.low), "*opcode*", "", "", f"`{spec.opcode:#04x}`", "")
    high = opcode.low - 1
    for field in sorted(spec.operands.values(), key=lambda field: -field.high):
        if field.high < high:
            yield _reserved(high, field.high + 1)
        yield (
            _bits(field.high, field.low),
            f"`{field.name}`",
            field.kind,
            field.unit or ("instruction" if field.kind == "wait" else ""),
            _allowed(field),
            field.doc,
        )
        high = field.low - 1
    if high >= 0:
        yield _reserved(high, 0)


def _bits(high: int, low: int) -> str:
    return f"{high}" if high == low else f"{high}..{low}"


def _reserved(high: int, low: int) -> tuple[str, ...]:
    return (_bits(high, low), "*reserved*", "", "", "0", "")


def _allowed(field: Field) -> str:
    if field.kind == "enum":
        return f"[names](#enumeration-{field.name})"
    if field.kind == "float":
        return "any but NaN"
    return f"{field.minimum} to {field.maximum}"


def _enumeration(table: InstructionSet, field: Field) -> Iterator[str]:
    users = [name for name, spec in table.instructions.items() if field.name in spec.operands]
    yield f"### Enumeration `{field.name}`"
    yield ""
    yield _wrapped(f"{field.doc} Used by {', '.join(f'`{name}`' for name in users)}.")
    yield ""
    yield from _table(
        ("value", "name"),
        ((str(number), f"`{name}`") for number, name in sorted(field.names.items())),
    )


if __name__ == "__main__":
    write_manual()
