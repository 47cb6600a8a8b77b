from __future__ import annotations

import itertools
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim.errors import AssemblyError, DecodeError, EncodeError, InputError, IsaError
from azsim.isa import assembly, reference
from azsim.isa.diagram import diagram
from azsim.isa.encode import canonical, decode, decode_words, encode, encode_program, pack_value
from azsim.isa.program import DramImage, Instruction, Program
from azsim.isa.program_file import load_program, save_program
from azsim.isa.spec import Field, instruction_set, load_instruction_set
from azsim.resources import isa_directory
from strategies import instructions, programs

TABLE = instruction_set()
MNEMONICS = list(TABLE.instructions)
ABSENT = "which an absent operand stands for"
KINDS = "enum, flag, float, int, uint, wait"
FIELD_KEYS = "bias, bits, doc, engine, kind, min, unit, values, when"
ENTRY_KEYS = "description, example, opcode, operands, summary, timing, writes"
OPERANDS = [(name, field) for name, spec in TABLE.instructions.items() for field in spec.operands]


def word_of(text: str) -> int:
    return int.from_bytes(encode(assembly.parse_instruction(text)), "little")


def with_needed(mnemonic: str, operands: dict[str, int | float | str]) -> Instruction:
    """An instruction with the operands that may not be left out added."""
    needed = {"loop": {"count": 1}}.get(mnemonic, {})
    return Instruction(mnemonic, needed | operands)


# ---------------------------------------------------------------------------- encoding


@given(instructions())
@settings(max_examples=300)
def test_decode_gives_back_what_was_encoded(instruction: Instruction) -> None:
    word = encode(instruction)
    assert len(word) == 16
    assert decode(word) == instruction
    assert canonical(instruction) == instruction


@st.composite
def words(draw: st.DrawFn) -> bytes:
    """Any bytes, and bytes that come near to an instruction."""
    word = draw(st.integers(0, (1 << 128) - 1))
    spec = draw(st.none() | st.sampled_from(list(TABLE.instructions.values())))
    if spec is not None:
        opcode = TABLE.fields["opcode"]
        word = (word & spec.mask & ~opcode.mask) | (spec.opcode << opcode.low)
    return word.to_bytes(16, "little")


@given(words())
@settings(max_examples=1000)
def test_any_word_is_rejected_or_encodes_to_itself(word: bytes) -> None:
    try:
        instruction = decode(word)
    except DecodeError:
        return
    assert encode(instruction) == word


def test_each_instruction_decodes_from_its_opcode_and_default_operands() -> None:
    for mnemonic, spec in TABLE.instructions.items():
        instruction = with_needed(mnemonic, {})
        explicit = {name: field.default for name, field in spec.operands.items()}
        assert encode(with_needed(mnemonic, explicit | dict(instruction.operands))) == encode(
            instruction
        )
        assert decode(encode(instruction)) == instruction


@pytest.mark.parametrize(("mnemonic", "name"), OPERANDS)
def test_the_edges_of_every_field(mnemonic: str, name: str) -> None:
    field = TABLE.instructions[mnemonic].operands[name]
    good, bad, allowed = edges(field)
    for value in good:
        decoded = decode(encode(with_needed(mnemonic, {name: value})))
        assert decoded.operands.get(name, field.default) == value
    for value in bad:
        with pytest.raises(EncodeError) as caught:
            encode(with_needed(mnemonic, {name: value}))
        assert str(caught.value) == f"{mnemonic}: {name}: got {value!r}, allowed {allowed}"


def edges(field: Field) -> tuple[list, list, str]:
    if field.kind == "enum":
        return list(field.values), ["nonsense", 0, 63], f"are {', '.join(field.values)}"
    if field.kind == "float":
        good = [0.0, -0.0, 1.5, -math.inf, 2.0**-149, float(np.finfo(np.float32).max)]
        return good, [0.1, 1e39, math.nan, "1", None], "is a float32 number"
    limits = {
        "uint": (field.bias, (1 << field.width) - 1 + field.bias),
        "wait": (0, (1 << field.width) - 1),
        "flag": (0, 1),
        "int": (-(1 << (field.width - 1)), (1 << (field.width - 1)) - 1),
    }
    low, high = limits[field.kind]
    low = 1 if field.name == "count" else low
    return [low, high, np.int64(high)], [low - 1, high + 1], f"is {low} to {high}"


def test_negative_zero_is_not_the_default() -> None:
    instruction = Instruction("vector_fill", {"dst": 1, "value": -0.0})
    decoded = decode(encode(instruction))
    assert math.copysign(1.0, float(decoded.operands["value"])) == -1.0
    assert canonical(Instruction("vector_fill", {"dst": 1, "value": 0})).operands == {"dst": 1}


def test_words_by_hand() -> None:
    assert word_of("halt") == 0x06 << 120
    assert word_of("loop count=7") == 0x03 << 120 | 7
    assert word_of("view_step view=v3 step=-2") == 0x02 << 120 | 3 << 112 | 0xFFFFFFFE
    assert word_of("view rows=1 cols=65536") == 0x01 << 120 | 0xFFFF << 43
    assert word_of("vector_fill dst=v2 value=1") == 0x33 << 120 | 2 << 92 | 0x3F800000
    assert (
        word_of("mac_drain wait_mac=1 function=relu use_bias=1 acc=5")
        == 0x21 << 120 | 1 << 104 | 1 << 54 | 1 << 52 | 5 << 16
    )


@pytest.mark.parametrize(
    ("instruction", "sentence"),
    [
        (
            Instruction("mac_matmull"),
            "mac_matmull: no such instruction; did you mean 'mac_matmul'?",
        ),
        (Instruction("qqq"), "qqq: no such instruction"),
        (Instruction("load", {"dts": 1}), "load: dts: no such operand; did you mean 'dst'?"),
        (Instruction("halt", {"dst": 1}), "halt: dst: no such operand"),
        (Instruction("loop"), "loop: count: is missing, allowed is 1 to 4294967295"),
        (
            Instruction("load", {"dst": 1.0}),
            "load: dst: got 1.0, allowed is an integer from 0 to 255",
        ),
    ],
)
def test_encode_errors(instruction: Instruction, sentence: str) -> None:
    with pytest.raises(EncodeError) as caught:
        encode(instruction)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        (bytes(16), "opcode: got 0x00, which is no instruction"),
        (bytes(15), "word: got 15 bytes, expected 16"),
        (
            (0x06 << 120 | 1 << 5).to_bytes(16, "little"),
            "halt: reserved bits are not zero, got 0x20",
        ),
        ((0x03 << 120).to_bytes(16, "little"), "loop: count: got 0, allowed is 1 to 4294967295"),
        (
            (0x01 << 120 | 3 << 110).to_bytes(16, "little"),
            "view: space: got 3, allowed are 0 (dram), 1 (weight), 2 (activation)",
        ),
        (
            (0x33 << 120 | 0x7FC00000).to_bytes(16, "little"),
            "vector_fill: value: got 0x7fc00000, allowed is a float32 number",
        ),
    ],
)
def test_decode_errors(word: bytes, sentence: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(word)
    assert str(caught.value) == sentence


@given(programs())
def test_a_program_encodes_to_its_instructions_words(program: Program) -> None:
    encoded = encode_program(program)
    assert encoded.shape == (len(program.instructions), 2)
    assert encoded.tobytes() == b"".join(encode(entry) for entry in program.instructions)
    assert decode_words(encoded) == program.instructions


def test_program_errors_name_the_instruction() -> None:
    program = Program("p", (Instruction("fence"), Instruction("loop", {"count": 0})))
    with pytest.raises(EncodeError) as encoding:
        encode_program(program)
    assert str(encoding.value) == "instruction 1: loop: count: got 0, allowed is 1 to 4294967295"
    with pytest.raises(DecodeError) as decoding:
        decode_words(np.array([[0, 0x06 << 56], [0, 0]], np.uint64))
    assert str(decoding.value) == "instruction 1: opcode: got 0x00, which is no instruction"


# ---------------------------------------------------------------------------- the data


def test_fields_are_where_the_data_says() -> None:
    rows = TABLE.fields["rows"]
    assert (rows.high, rows.low, rows.minimum, rows.maximum) == (74, 59, 1, 65536)
    assert TABLE.engines == ("weight", "load", "store", "mac", "vector")
    assert {spec.engine for spec in TABLE.instructions.values()} == {"control", *TABLE.engines}


@pytest.mark.parametrize("mnemonic", MNEMONICS)
def test_every_example_assembles_to_a_word_that_disassembles_to_it(mnemonic: str) -> None:
    example = TABLE.instructions[mnemonic].example
    instruction = assembly.parse_instruction(example)
    assert instruction.mnemonic == mnemonic
    assert assembly.format_instruction(decode(encode(instruction))) == example


@pytest.mark.parametrize(
    ("file", "old", "new", "sentences"),
    [
        (
            "formats.yaml",
            'step:        {bits: "31..0"',
            'step:        {bits: "113..82"',
            [
                "isa/control.yaml: view_at: step: its bits overlap those of 'view'",
                "isa/control.yaml: view_step: step: its bits overlap those of 'view'",
            ],
        ),
        (
            "formats.yaml",
            'count:       {bits: "31..0"',
            'count:       {bits: "128..97"',
            ["isa/formats.yaml: count: bits: got '128..97', expected 'high..low' within 127..0"],
        ),
        (
            "formats.yaml",
            'static:      {bits: "50..50"',
            'static:      {bits: "50..49"',
            ["isa/formats.yaml: static: bits: a flag takes 1 bits, got 2"],
        ),
        (
            "formats.yaml",
            "relu: 1, sigmoid: 2",
            "relu: 1, sigmoid: 1",
            ["isa/formats.yaml: function: values.sigmoid: 1 is 'relu' already"],
        ),
        (
            "formats.yaml",
            "dram: 0, weight: 1, activation: 2",
            "dram: 3, weight: 1, activation: 4",
            [
                "isa/formats.yaml: space: values.activation: got 4, allowed is 0 to 3",
                f"isa/formats.yaml: space: values: no name for 0, {ABSENT}",
            ],
        ),
        (
            "formats.yaml",
            "kind: float, ",
            "kind: real, ",
            [
                f"isa/formats.yaml: value: kind: got 'real', allowed are {KINDS}",
            ],
        ),
        (
            "formats.yaml",
            "fields:\n",
            'fields:\n  spare: {bits: "3..0", kind: uint, doc: "Nothing."}\n',
            ["isa/formats.yaml: spare: no instruction uses this field"],
        ),
        (
            "formats.yaml",
            "kind: wait, engine: mac",
            "kind: wait",
            ["isa/formats.yaml: wait_mac: engine: is missing"],
        ),
        (
            "formats.yaml",
            "unit: iteration",
            "units: iteration",
            [
                f"isa/formats.yaml: count: unknown key 'units', allowed are {FIELD_KEYS}",
            ],
        ),
        (
            "formats.yaml",
            "version: 2",
            "version: one",
            ["isa/formats.yaml: version: got 'one', expected int"],
        ),
        (
            "formats.yaml",
            "version: 2",
            "version: 2\nversion: 3",
            ["isa/formats.yaml:7:1: key 'version' is given twice"],
        ),
        (
            "mac.yaml",
            "opcode: 0x21",
            "opcode: 0x20",
            ["isa/mac.yaml: mac_drain: opcode: 0x20 is 'mac_matmul' already"],
        ),
        (
            "mac.yaml",
            "opcode: 0x21",
            "opcode: 256",
            ["isa/mac.yaml: mac_drain: opcode: got 256, allowed is 1 to 255"],
        ),
        (
            "mac.yaml",
            "src2, accumulate",
            "src3, accumulate",
            ["isa/mac.yaml: mac_matmul: src3: no such field in formats.yaml"],
        ),
        (
            "mac.yaml",
            "src2, accumulate",
            "src2, src2, accumulate",
            ["isa/mac.yaml: mac_matmul: src2: is listed twice"],
        ),
        (
            "mac.yaml",
            "engine: mac",
            "engine: store",
            ["isa/mac.yaml: engine: got 'store', expected the file's name"],
        ),
        (
            "store.yaml",
            "    summary:",
            "    resume:",
            [
                "isa/store.yaml: store: summary: is missing",
                f"isa/store.yaml: store: unknown key 'resume', allowed are {ENTRY_KEYS}",
            ],
        ),
        (
            "store.yaml",
            "    summary:",
            "    writes: [dst, wait_mac]\n    summary:",
            ["isa/store.yaml: store: writes: 'wait_mac' is no operand that is a view"],
        ),
        (
            "vector.yaml",
            "src, peak, function, use_peak]",
            "src, peak, function]",
            ["isa/vector.yaml: vector_unary: peak: needs the operand 'use_peak'"],
        ),
        (
            "load.yaml",
            "  load:",
            "  store:",
            [
                "isa/formats.yaml: paced: no instruction uses this field",
                "isa/store.yaml: store: is in another file too",
            ],
        ),
        (
            "store.yaml",
            "instructions:",
            "instructions: [",
            ["isa/store.yaml:4:11: did not find expected ',' or ']'"],
        ),
    ],
)
def test_bad_data_is_named(
    tmp_path: Path, file: str, old: str, new: str, sentences: list[str]
) -> None:
    directory = tmp_path / "isa"
    shutil.copytree(isa_directory(), directory)
    text = (directory / file).read_text()
    assert old in text
    (directory / file).write_text(text.replace(old, new, 1))
    with pytest.raises(IsaError) as caught:
        load_instruction_set(directory)
    assert str(caught.value).split("\n") == sentences


def test_all_bad_data_is_told_at_once(tmp_path: Path) -> None:
    directory = tmp_path / "isa"
    shutil.copytree(isa_directory(), directory)
    for name in ("load.yaml", "store.yaml"):
        path = directory / name
        path.write_text(path.read_text().replace("dst, src", "dst, sorce"))
    with pytest.raises(IsaError) as caught:
        load_instruction_set(directory)
    assert str(caught.value).split("\n") == [
        "isa/load.yaml: load: sorce: no such field in formats.yaml",
        "isa/load.yaml: load_gather: sorce: no such field in formats.yaml",
        "isa/store.yaml: store: sorce: no such field in formats.yaml",
        "isa/store.yaml: store_scatter: sorce: no such field in formats.yaml",
    ]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(IsaError) as caught:
        load_instruction_set(tmp_path)
    assert (
        str(caught.value)
        == f"{tmp_path / 'formats.yaml'}: cannot be read, No such file or directory"
    )


# ---------------------------------------------------------------------------- assembly


@pytest.mark.slow
@given(programs(), st.booleans(), st.booleans())
def test_parse_gives_back_what_was_formatted(
    program: Program, numbered: bool, commented: bool
) -> None:
    text = assembly.format(program, numbered=numbered, commented=commented)
    assert assembly.parse(text) == program


@given(instructions())
def test_an_instruction_reads_back(instruction: Instruction) -> None:
    assert assembly.parse_instruction(assembly.format_instruction(instruction)) == instruction


@given(st.text())
def test_any_text_is_a_program_or_an_assembly_error(text: str) -> None:
    try:
        program = assembly.parse(text)
    except AssemblyError:
        return
    assert assembly.parse(assembly.format(program)) == program


def test_text_of_a_program() -> None:
    text = """\
.program "my net"
.stream frames=3 period_s=0.032 paced=1
.input audio addr=0x0 shape=1x576 frames=3
.output y addr=0x2000 shape=scalar frames=3
.layer /conv1/Conv
.region h space=activation start=0x400 size=512 dtype=f32 first=0 last=3
.tap h index=3 addr=0x400 shape=1x128 strides=512x4

.in
loop count=3
.in /conv1/Conv
  view view=v3 space=weight dtype=i4 addr=0x400 rows=1 cols=9 row_stride=0 col_stride=1 region=h
  vector_binary wait_mac=1 dst=v3 src=v3 src2=v4 function=mul
.in
end_loop
halt
"""
    program = assembly.parse(text)
    assert program.name == "my net"
    assert program.layers == ("/conv1/Conv",)
    assert program.layer_of == (-1, 0, 0, -1, -1)
    assert program.region_of_view == {1: "h"}
    assert program.outputs[0].shape == ()
    assert program.taps[0].strides_bytes == (512, 4)
    assert assembly.format(program) == text


def test_comments_blanks_and_number_forms() -> None:
    program = assembly.parse("; all of it\n\n  loop count=0x10;tight\n end_loop ; done\r\n")
    assert program == Program(
        "program", (Instruction("loop", {"count": 16}), Instruction("end_loop"))
    )
    fill = assembly.parse_instruction("vector_fill dst=v1 value=0.1")
    assert fill.operands["value"] == float(np.float32(0.1))
    assert assembly.format_instruction(fill) == "vector_fill dst=v1 value=0.1"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("lod dst=v1", "1:1: no such instruction 'lod'; did you mean 'load'?"),
        (".regon x", "1:1: no such directive '.regon'; did you mean '.region'?"),
        ("load sorc=v1", "1:6: load: sorc: no such operand; did you mean 'src'?"),
        ("load dst=3", "1:10: load: dst: got '3', expected a view, v0 to v255"),
        ("load dst=v256", "1:10: load: dst: got 256, allowed is 0 to 255"),
        ("load dst=v1 dst=v2", "1:13: load: dst: is given twice"),
        ("load v1", "1:6: load: got 'v1', expected key=value"),
        ("load dst=v1 paced=2", "1:19: load: paced: got 2, allowed is 0 to 1"),
        ("loop", "1:1: loop: count: is missing, allowed is 1 to 4294967295"),
        ("loop count=010", "1:12: loop: count: got '010', expected an integer"),
        ("loop count=many", "1:12: loop: count: got 'many', expected an integer"),
        (
            "view space=sram",
            "1:12: view: space: got 'sram', allowed are dram, weight, activation",
        ),
        ("vector_fill value=x", "1:19: vector_fill: value: got 'x', expected a number"),
        (
            "vector_fill value=1e39",
            "1:19: vector_fill: value: got 1e+39, allowed is a float32 number",
        ),
        ("vector_fill value=nan", "1:19: vector_fill: value: got nan, allowed is a float32 number"),
        ("load region=h", "1:6: load: region: no such operand"),
        ("view region=a region=b", "1:15: view: region: is given twice"),
        ("x=1", "1:1: got 'x=', expected a mnemonic or directive"),
        ("load =", "1:6: cannot read '='"),
        ('.program "a', "1:10: cannot read '\"a'"),
        (r'.program "\q"', r"1:10: not a JSON string: Invalid \escape"),
        ("halt[", "1:5: got '[', expected a space"),
        (".program", "1:1: .program: a name is missing"),
        (".program a b", "1:12: .program: got 'b', expected key=value"),
        (".in x", "1:1: .in: no layer 'x' is declared"),
        (".stream frames=1 paced=1", "1:1: .stream: period_s: is missing"),
        (".stream frames=1 frames=1", "1:18: .stream: frames: is given twice"),
        (
            ".stream frames=1 period_s=none paced=yes",
            "1:38: .stream: paced: got 'yes', allowed are 0, 1",
        ),
        (".input x adr=1", "1:10: .input: adr: no such operand; did you mean 'addr'?"),
        (".input x shape=1xx", "1:16: .input: shape: got '', expected an integer"),
        (
            ".region x dtype=f16",
            "1:17: .region: dtype: got 'f16', allowed are u8, i8, i16, f32, i4, i2, i32",
        ),
    ],
)
def test_assembly_errors(line: str, sentence: str) -> None:
    with pytest.raises(AssemblyError) as caught:
        assembly.parse(line)
    assert str(caught.value) == sentence


def test_all_assembly_errors_are_told_at_once() -> None:
    with pytest.raises(AssemblyError) as caught:
        assembly.parse(".layer a\n.layer a\n.in b\nhalt\nhlt\n")
    assert str(caught.value).split("\n") == [
        "2:1: .layer: 'a' is declared twice",
        "3:1: .in: no layer 'b' is declared",
        "5:1: no such instruction 'hlt'; did you mean 'halt'?",
    ]
    with pytest.raises(AssemblyError, match=r"^1:1: got 2 instructions, expected 1$"):
        assembly.parse_instruction("halt\nhalt")


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"layer_of": (0, 0)}, "layer_of: got 2 entries, expected 1"),
        ({"layer_of": (1,), "layers": ("a",)}, "layer_of: got 1, allowed is -1 to 0"),
        ({"layers": ("a", "b", "a")}, "layers: 'a' is there 2 times, expected once"),
        ({"region_of_view": {0: "r"}}, "region_of_view: 0 is not the index of a view instruction"),
        ({"region_of_view": {7: "r"}}, "region_of_view: 7 is not the index of a view instruction"),
    ],
)
def test_a_program_that_contradicts_itself_has_no_text(parts: dict, sentence: str) -> None:
    with pytest.raises(AssemblyError) as caught:
        assembly.format(Program("p", (Instruction("halt"),), **parts))
    assert str(caught.value) == sentence


# ----------------------------------------------------------------------- program files


@pytest.mark.slow
@given(program=programs(), data=st.binary(max_size=100))
def test_a_program_file_gives_back_program_and_image(
    program: Program, data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "program.azp"
    save_program(path, program, DramImage(np.frombuffer(data, np.uint8)))
    loaded, image = load_program(path)
    assert loaded == program
    assert image.data.tobytes() == data


def saved(tmp_path: Path) -> Path:
    path = tmp_path / "p.azp"
    body = (Instruction("loop", {"count": 3}), Instruction("end_loop"), Instruction("halt"))
    save_program(path, Program("p", body), DramImage(np.arange(100, dtype=np.uint8)))
    return path


def test_the_same_program_gives_the_same_file(tmp_path: Path) -> None:
    first = saved(tmp_path).read_bytes()
    assert saved(tmp_path).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["p.azp"]


def replaced(path: Path, **changes: np.ndarray | None) -> None:
    with np.load(path) as archive:
        arrays: dict[str, Any] = {name: archive[name] for name in archive.files} | changes
    with path.open("wb") as file:
        np.savez(file, **{name: array for name, array in arrays.items() if array is not None})


META = (
    b'{"version":2,"name":"p","layers":[],"layer_of":[],"region_of_view":[],"regions":[],'
    b'"taps":[],"inputs":[],"outputs":[],'
    b'"stream":{"frames":1,"period_s":null,"paced":false}}'
)


def meta(old: bytes, new: bytes) -> np.ndarray:
    assert old in META
    return np.frombuffer(META.replace(old, new), np.uint8)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dram": None}, "is not a program file, it holds meta, words, expected words, dram, meta"),
        ({"dram": np.zeros(3)}, "dram: got 1 axes of float64, expected 1 of uint8"),
        ({"words": np.zeros((1, 3), np.uint64)}, "words: got rows of 3, expected 2"),
        (
            {"words": np.zeros((1, 2), np.uint64)},
            "instruction 0: opcode: got 0x00, which is no instruction",
        ),
        ({"meta": meta(b"[],", b"[,")}, "meta: Invalid JSON: expected value at line 1 column 35"),
        ({"meta": meta(b'"p"', b"5")}, "meta.name: Input should be a valid string"),
        ({"meta": meta(b"2,", b"1,")}, "meta.version: got 1, expected 2"),
        ({"meta": meta(b'_of":[]', b'_of":[0]')}, "meta.layer_of: got 1 entries, expected 3"),
        (
            {"meta": meta(b'_of":[]', b'_of":[-1,-2,0]')},
            "meta.layer_of: got -2, allowed is -1 to -1",
        ),
    ],
)
def test_a_program_file_with_other_contents(tmp_path: Path, changes: dict, sentence: str) -> None:
    path = saved(tmp_path)
    replaced(path, **changes)
    with pytest.raises(InputError) as caught:
        load_program(path)
    assert str(caught.value) == f"{path}: {sentence}"


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", bytes(300)])
def test_a_file_that_is_no_program(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.azp"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_program(path)
    assert str(caught.value) == f"{path}: is not a program file, or is damaged"


def test_a_truncated_or_damaged_program_file_is_an_error(tmp_path: Path) -> None:
    path = saved(tmp_path)
    content = path.read_bytes()
    for length in range(0, len(content), 37):
        path.write_bytes(content[:length])
        with pytest.raises(InputError):
            load_program(path)
    np.save(path.with_suffix(".npy"), np.zeros(3))
    with pytest.raises(InputError, match=r"it holds a single array$"):
        load_program(path.with_suffix(".npy"))


def test_files_that_cannot_be_reached(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read, No such file or directory$"):
        load_program(tmp_path / "none.azp")
    image = DramImage(np.zeros(1, np.uint8))
    with pytest.raises(InputError, match=r"cannot be written, No such file or directory$"):
        save_program(tmp_path / "none" / "p.azp", Program("p", ()), image)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"cannot be written, Is a directory$"):
        save_program(tmp_path / "folder", Program("p", ()), image)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


# -------------------------------------------------------------------------- the manual


def test_the_manual_says_everything_the_data_says() -> None:
    text = reference.manual(TABLE)
    flat = " ".join(text.split())
    for spec in TABLE.instructions.values():
        assert f"### `{spec.mnemonic}`" in text
        assert spec.example in text
        for prose in (spec.summary, spec.description, spec.timing):
            assert prose.strip()[:60] in flat or not prose
    for field in TABLE.fields.values():
        if field.name != "opcode":
            assert field.doc in text
        for name in field.values:
            assert f"| `{name}` |" in text


@pytest.mark.parametrize("mnemonic", MNEMONICS)
def test_the_manual_has_a_whole_section_for_each_instruction(mnemonic: str) -> None:
    spec = TABLE.instructions[mnemonic]
    sections = re.split(r"^### `(\w+)`\n", reference.manual(TABLE), flags=re.MULTILINE)
    text = sections[sections.index(mnemonic) + 1].split("\n## ")[0]
    summary, drawing, rows, timing, example = (part.strip() for part in sectioned(text))
    assert summary.startswith("**")
    assert len(summary) > len(spec.summary) + 4  # and a description
    assert drawing.startswith("127")
    assert timing.startswith("Timing: ")
    assert len(timing) > len("Timing: ")
    assert example == spec.example
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows.splitlines()[2:]]
    assert {row[1].strip("`*") for row in cells} - {"opcode", "reserved"} == set(spec.operands)
    for bits, name, kind, unit, allowed, meaning in cells:
        field = spec.operands.get(name.strip("`"))
        if field is None:
            continue
        assert bits in (f"{field.high}..{field.low}", f"{field.high}")
        assert allowed
        assert meaning
        assert kind == field.kind
        assert unit or field.kind in ("enum", "flag", "float") or field.name == "number"


def sectioned(text: str) -> list[str]:
    """Summary and description, drawing, table, timing and example of a section."""
    found = re.fullmatch(
        r"(.*?)```text\n(.*?)```(.*?)(Timing: .*?)```\n(.*?)\n```\n*", text.lstrip("\n"), re.DOTALL
    )
    assert found, text
    return list(found.groups())


@pytest.mark.parametrize("mnemonic", MNEMONICS)
def test_the_drawing_has_every_field_at_its_bits(mnemonic: str) -> None:
    """Read back from where the bars stand, three columns a bit."""
    spec = TABLE.instructions[mnemonic]
    lines = diagram(TABLE, spec).split("\n")
    letters = dict(re.findall(r"(\w): (\w+)", lines[17])) if len(lines) > 16 else {}
    assert max(map(len, lines)) <= 97
    found: dict[str, int] = {}
    for number in range(4):
        head, edge, row, _ = lines[4 * number : 4 * number + 4]
        top = 127 - 32 * number
        bars = [column for column, mark in enumerate(row) if mark == "|"]
        assert [mark == "+" for mark in edge] == [column in bars for column in range(97)]
        for left, right in itertools.pairwise(bars):
            high, low = top - left // 3, top - right // 3 + 1
            assert head[left:].split()[0] == str(high)
            name = row[left + 1 : right].strip()
            name = letters.get(name, name).partition("[")[0]
            mask = ((1 << (high - low + 1)) - 1) << low
            found[name] = found.get(name, 0) | mask
    reserved = found.pop("0", 0)
    wanted = {name: field.mask for name, field in spec.operands.items()}
    assert found == {f"{spec.opcode:#04x}": TABLE.fields["opcode"].mask, **wanted}
    assert reserved == (1 << 128) - 1 - spec.mask


def test_a_value_packs_as_its_field_says() -> None:
    assert pack_value(TABLE.fields["rows"], 65536) == 65535
    assert pack_value(TABLE.fields["step"], -1) == 0xFFFFFFFF
    assert pack_value(TABLE.fields["function"], "max") == 20
