"""Assembly text that leaves numbers to the assembler: data, registers and constants by name."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim.errors import AssemblyError
from azsim.isa import assembly
from azsim.isa.program import Region


def message(text: str) -> list[str]:
    with pytest.raises(AssemblyError) as caught:
        assembly.parse(text)
    return str(caught.value).split("\n")


TEXT = """\
.input x shape=2x3x5
.output y dtype=i32 shape=7
.weight w codec=raw bits=4 shape=3x5
.buffer a space=activation shape=4x8
.buffer p space=weight dtype=i4 shape=3x5
.buffer b space=weight like=w
.buffer s space=activation dtype=i16 shape=scalar
view view=one addr=x
view view=two addr=y
view view=v2 addr=w
view view=part addr=a+32 rows=2 cols=4
view view=turned addr=a rows=8 cols=4 row_stride=1 col_stride=8
view view=packed addr=p
view view=block addr=b
view view=s addr=s
view view=raw addr=a dtype=u8 rows=2 cols=3
load dst=part src=one
scalar to=n number=3
scalar to=s1 left=n
halt
"""


def test_data_is_placed_and_views_are_of_it() -> None:
    source = assembly.read(TEXT, is_whole=True)
    program, placed = source.program({"w": 30})
    assert {name: (data.space, data.addr, data.span_bytes) for name, data in placed.items()} == {
        "x": ("dram", 0, 120),
        "y": ("dram", 128, 28),
        "w": ("dram", 192, 30),
        "a": ("activation", 0, 128),
        "p": ("weight", 0, 9),
        "b": ("weight", 64, 30),
        "s": ("activation", 128, 2),
    }
    assert program.regions[0] == Region("x", "dram", 0, 120, "f32", 0, 12)
    assert set(program.region_of_view.values()) == set(placed)
    shown = [assembly.format_instruction(entry) for entry in program.instructions]
    assert shown == [
        "view view=v0 space=dram dtype=f32 addr=0x0 rows=6 cols=5 row_stride=5 col_stride=1",
        "view view=v1 space=dram dtype=i32 addr=0x80 rows=1 cols=7 row_stride=0 col_stride=1",
        "view view=v2 space=dram dtype=u8 addr=0xc0 rows=1 cols=30 row_stride=0 col_stride=1",
        "view view=v3 space=activation dtype=f32 addr=0x20 rows=2 cols=4 row_stride=8 col_stride=1",
        "view view=v4 space=activation dtype=f32 addr=0x0 rows=8 cols=4 row_stride=1 col_stride=8",
        "view view=v5 space=weight dtype=i4 addr=0x0 rows=3 cols=5 row_stride=6 col_stride=1",
        "view view=v6 space=weight dtype=u8 addr=0x40 rows=1 cols=30 row_stride=0 col_stride=1",
        "view view=v7 space=activation dtype=i16 addr=0x80 rows=1 cols=1 row_stride=0 col_stride=0",
        "view view=v8 space=activation dtype=u8 addr=0x0 rows=2 cols=3 row_stride=3 col_stride=1",
        "load dst=v3 src=v0",
        "scalar to=s2 left=s0 right=s0 number=3 operation=add",
        "scalar to=s1 left=s2 right=s0 number=0 operation=add",
        "halt",
    ]
    assert assembly.parse(assembly.format(program)) == program


def test_the_places_of_everything_but_blocks_do_not_depend_on_their_sizes() -> None:
    source = assembly.read(TEXT)
    places = [source.program({"w": size})[1] for size in (20, 4000)]
    for name in places[0].keys() - {"w", "b"}:
        assert places[0][name] == places[1][name]


def test_a_large_block_is_rows_of_bytes() -> None:
    source = assembly.read(".weight w codec=raw bits=8 shape=400x400\nview view=v0 addr=w\nhalt")
    program, placed = source.program({"w": 160_016})
    assert placed["w"].shape == (3, 53_339)
    assert placed["w"].span_bytes >= 160_016
    assert dict(program.instructions[0].operands)["rows"] == 3


def test_what_has_an_address_stays_there_and_the_others_come_behind() -> None:
    text = (
        ".buffer a space=activation shape=16\n.buffer b space=activation addr=0x100 shape=4\n"
        ".input x addr=0x40 shape=4 frames=2\nview view=v0 addr=x\nview view=v1 addr=b"
    )
    program, placed = assembly.read(text).program()
    assert [placed[name].addr for name in "abx"] == [0x140, 0x100, 0x40]
    assert program.region_of_view == {1: "b"}
    assert [region.name for region in program.regions] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("view view=v0 addr=h", ["1:19: view: addr: no data 'h' is declared"]),
        (
            ".input audio shape=3\nview view=v0 addr=adio+4",
            ["2:19: view: addr: no data 'adio' is declared; did you mean 'audio'?"],
        ),
        (
            "view view=left\nload dst=lft src=left",
            ["2:10: load: dst: no view is set by the name 'lft'; did you mean 'left'?"],
        ),
        (
            "branch left=count target=out\nscalar to=counts",
            [
                "1:13: branch: left: no scalar is set by the name 'count'; did you mean 'counts'?",
                "1:26: target: no label 'out'",
            ],
        ),
        (
            ".input x shape=3\n.buffer x space=weight shape=4",
            ["2:9: .buffer: 'x' is declared twice, first in line 1"],
        ),
        (
            ".region x space=dram start=0x0 size=4 dtype=f32 first=0 last=0\n.input x shape=3",
            ["2:8: .input: a region is named 'x' too"],
        ),
        (
            ".input x dtype=f16 shape=3",
            ["1:16: .input: dtype: got 'f16', allowed are f32, i32, i16, i8, u8"],
        ),
        (".input x dtype=i32", ["1:1: .input: shape: is missing"]),
        (".input x shape=3x0", ["1:16: .input: shape: got 0, allowed is 1 and more"]),
        (".output x shape=3 frames=0", ["1:26: .output: frames: got 0, allowed is 1 and more"]),
        (".output x shape=3 step=0", ["1:24: .output: step: got 0, allowed is 1 and more"]),
        (
            ".output x shape=3 frames=2 step=8",
            ["1:33: .output: step: got 8, a frame has 12 bytes"],
        ),
        (
            ".output x shape=3x4 axes=1x1",
            ["1:26: .output: axes: got 1x1, allowed is 0x1, in any order"],
        ),
        (
            ".output x shape=-3 addr=0x0",
            ["1:17: .output: shape: got -3, allowed is 0 and more"],
        ),
        (
            ".output x shape=3 addr=-4",
            ["1:24: .output: addr: got -4, allowed is 0 and more"],
        ),
        (
            ".stream frames=0 period_s=1 paced=1",
            ["1:16: .stream: frames: got 0, allowed is 1 and more"],
        ),
        (
            ".stream frames=2 period_s=-0.0 paced=1",
            ["1:27: .stream: period_s: got -0.0, allowed are seconds above 0, and none"],
        ),
        (".buffer x shape=3", ["1:1: .buffer: space: is missing"]),
        (".buffer x space=weight", ["1:9: .buffer: needs a shape, or another's with like="]),
        (
            ".buffer x space=weight like=y\n.buffer y space=weight like=x\n.output z shape=3",
            [
                "1:9: .buffer: like: no data 'y' is declared",
                "2:9: .buffer: like: no data 'x' is declared",
            ],
        ),
        (
            ".input y shape=1\n.buffer x space=weight like=y dtype=i8",
            ["2:37: .buffer: dtype: is that of what it is like"],
        ),
        (
            ".weight w codec=bitmp bits=4 shape=3x5",
            ["1:17: .weight: codec: no codec 'bitmp'; did you mean 'bitmap'?"],
        ),
        (".weight w codec=raw bits=9 shape=3x5", ["1:26: .weight: bits: got 9, allowed is 2 to 8"]),
        (
            ".weight w codec=raw bits=8 shape=3",
            ["1:34: .weight: shape: got 1 axes, expected rows and columns"],
        ),
        (
            ".weight w codec=raw bits=8 shape=3x5 lane=4",
            ["1:43: .weight: lane: codec raw has no such parameter, allowed are palette"],
        ),
        (
            ".buffer a space=activation shape=4\nview view=v0 addr=a space=weight",
            ["2:19: view: 'a' lies in activation, not in weight"],
        ),
        (
            ".buffer a space=activation shape=4\nview view=v0 addr=a dtype=u8 cols=3",
            ["2:19: view: 'a' is f32; a view of it as u8 needs rows and cols"],
        ),
        (
            ".buffer a space=activation shape=70000\nview view=v0 addr=a",
            ["2:19: view: cols: got 70000, allowed is 1 to 65536"],
        ),
        (
            "\n".join(f"scalar to=n{n}" for n in range(32)),
            ["32:11: n31: no scalar register is left for this name"],
        ),
    ],
)  # fmt: skip
def test_names_that_are_wrong(text: str, sentences: list[str]) -> None:
    found = message(text)
    assert found[: len(sentences)] == sentences


def test_names_of_lines_that_cannot_be_read_are_not_missed() -> None:
    text = (
        ".input x shape=0\nview view=a addr=x rows=0\nscalar to=n nmber=1\n"
        ".buffer b space=weight like=x\nload dst=a src=c\nscalar left=n\nview view=v0 addr=x\n"
    )
    assert message(text) == [
        "1:16: .input: shape: got 0, allowed is 1 and more",
        "2:25: view: rows: got 0, allowed is 1 to 65536",
        "3:13: scalar: nmber: no such operand; did you mean 'number'?",
        "5:16: load: src: no view is set by the name 'c'",
    ]


def test_constants_stand_for_numbers() -> None:
    program = assembly.parse(
        ".constant rows value=3\n.constant row value=0x20\n.input x shape=3x8 frames=rows\n"
        "view view=v0 addr=x+row rows=2\nview_step view=v0 step=row\nloop count=rows\nend_loop\n"
    )
    operands = [dict(entry.operands) for entry in program.instructions]
    assert operands[0]["addr"] == 0x20
    assert operands[1]["step"] == 0x20
    assert operands[2]["count"] == 3
    assert program.inputs[0].frames == 3
    assert message(".constant rows value=3\n.constant rows value=4\nloop count=row") == [
        "2:1: .constant: 'rows' is given twice",
        "3:12: loop: count: got 'row', expected an integer; did you mean 'rows'?",
    ]
    assert message(".input x shape=3\nview view=v0 addr=x+row") == [
        "2:19: view: addr: no data 'x+row' is declared",
    ]


def test_views_of_all_data_at_once() -> None:
    text = ".input x shape=2x3\n.buffer y space=weight shape=4\n"
    one_by_one = assembly.parse(
        text + "view view=y addr=y rows=1\nview view=x addr=x\nload dst=y src=x\nhalt"
    )
    assert assembly.parse(text + "view view=y addr=y rows=1\n.views\nload dst=y src=x\nhalt") == (
        one_by_one
    )
    later = assembly.parse(text + ".views\n.buffer z space=weight shape=3\n.views\nhalt")
    assert [later.region_of_view[index] for index in range(3)] == ["x", "y", "z"]
    assert len(later.instructions) == 4
    assert message(".input v1 shape=3\n.input w.0 shape=3\n  .views") == [
        "3:3: .views: 'v1' cannot be the name of a register",
    ]
    assert message(".input x shape=70000\n.views") == [
        "2:1: view: cols: got 70000, allowed is 1 to 65536",
    ]


def test_registers_that_the_text_numbers_are_left_alone() -> None:
    program = assembly.parse(
        "view view=v0\nview view=v2\nview view=a\nview view=b\nload dst=a src=b"
    )
    assert [dict(entry.operands).get("view", 0) for entry in program.instructions[:4]] == [
        0,
        2,
        1,
        3,
    ]


# -------------------------------------------------------------------------- any text at all

WORDS = """
    .input .output .weight .buffer .region .stream .constant .views view load scalar branch
    weight_load halt x y w shape=2x3 shape=scalar shape=0 shape=99999999999x9 dtype=f32
    dtype=i4 frames=2
    frames=-1 addr=x addr=x+4 addr=0x40 addr=-4 addr=+4 addr=y+99999999999 space=weight
    space=activation like=x like=w codec=bitmap codec=nm bits=4 bits=99 n=2 view=a view=v9 dst=a
    src=b to=n left=n target=x rows=0 rows=4 cols=3 region=x first=0 last=0 start=0x0 size=16 x:
    ; period_s=none paced=1
"""


HEADS = [
    ".input x shape=2x3", ".output y dtype=i32 shape=5", ".weight w codec=raw bits=4 shape=3x4",
    ".buffer x space=activation shape=4", ".buffer y space=weight like=w", "view view=a addr=x",
    "view view=b addr=w", "load dst=a src=b", "scalar to=n", "x: branch target=x", "halt", "",
]  # fmt: skip
LINES = st.builds(
    lambda head, words: " ".join([head, *words]),
    st.sampled_from(HEADS),
    st.lists(st.sampled_from(WORDS.split()), max_size=4),
)


@given(st.lists(LINES, max_size=8))
@settings(max_examples=500)
def test_any_words_are_a_program_or_an_assembly_error(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        program = assembly.parse(text)
    except AssemblyError as error:
        for sentence in str(error).split("\n"):
            line, column, _ = sentence.split(":", 2)
            assert 1 <= int(line) <= len(lines)
            assert 1 <= int(column) <= len(lines[int(line) - 1])
        return
    assert assembly.parse(assembly.format(program, commented=True)) == program
