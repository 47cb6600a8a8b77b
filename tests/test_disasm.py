"""Programs as people read them: labels, headings, tensors and waits, and the very words again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from azsim import run_kernel
from azsim.cli import main
from azsim.compiler.compile import compile_graph
from azsim.frontend.workload import load_workload
from azsim.hardware import load_hardware
from azsim.isa import assembly
from azsim.isa.annotate import comments, loop_labels, regions_of_views, successors
from azsim.isa.encode import encode_program
from azsim.isa.program import Program, Stream
from azsim.pipeline import compile_workload
from azsim.stages.kernel import read_source
from compiled import MIXED_STATE, VARIANTS, mixed_graph
from graphs import compress
from kernels import EXAMPLES

VIEW = (
    "view view=v2 space=activation dtype=f32 addr=0x10 rows=1 cols=4 row_stride=0 col_stride=1 "
    "region=b"
)
WAITS = "after all but 1 of load, all but 2 of mac"


def same_again(program: Program) -> str:
    """The text that `azsim disasm` prints; it has to be the same program."""
    text = assembly.format(program, commented=True)
    again = assembly.parse(text)
    assert again == program
    assert encode_program(again).tobytes() == encode_program(program).tobytes()
    numbered = assembly.format(program, numbered=True, commented=True)
    assert assembly.parse(numbered) == program
    return text


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_compiled_programs_of_any_chip_come_back(variant: str) -> None:
    graph = mixed_graph(3)
    compiled = compile_graph(
        compress(graph), VARIANTS[variant], Stream(2, None, False), MIXED_STATE, "mixed"
    )
    text = same_again(compiled.program)
    for layer in compiled.program.layers:
        assert f"- {assembly.quoted(layer)}\n.in " in text


@pytest.mark.parametrize(
    ("workload", "chip"), [("eie_layers_small", "eie"), ("eie_layers_small", "az1_lite")]
)
def test_compiled_workloads_come_back(workload: str, chip: str) -> None:
    compiled = compile_workload(load_workload(workload), load_hardware(chip))
    same_again(compiled.program)


@pytest.mark.fetch
@pytest.mark.parametrize("chip", ["az1", "az2"])
def test_the_program_of_a_real_model_comes_back(chip: str) -> None:
    compiled = compile_workload(load_workload("vad_silero"), load_hardware(chip))
    text = same_again(compiled.program)
    assert "\nloop_1:\nloop count=32\n" in text
    assert re.search(r"\nend_loop +; of loop_1\n", text)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.azs")), ids=lambda path: path.stem)
def test_the_examples_come_back(path: Path) -> None:
    same_again(read_source(path).program()[0])


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.azs")), ids=lambda path: path.stem)
def test_an_example_goes_through_files_and_back(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks in place, names gone: what was placed by name is a program as any other."""
    monkeypatch.chdir(tmp_path)
    data = str(path.with_suffix(".npz"))
    assert main(["asm", str(path), "--data", data, "-o", "p.npz"]) == 0
    assert main(["disasm", "p.npz", "-o", "p.azs"]) == 0
    assert main(["asm", "p.azs", "--dram", "p.npz", "-o", "q.npz"]) == 0
    assert Path("p.npz").read_bytes() == Path("q.npz").read_bytes()
    by_name, by_number = run_kernel(path, data), run_kernel("q.npz")
    assert by_number.statistics == by_name.statistics
    for name, array in by_name.outputs.items():
        assert by_number.outputs[name].tobytes() == array.tobytes()


def test_what_stands_beside_instructions() -> None:
    text = """\
.program small
.stream frames=1 period_s=none paced=0
.input x addr=0x0 shape=1x4 frames=1
.layer first
.layer second
.region x space=dram start=0x0 size=16 dtype=f32 first=0 last=13
.region a space=activation start=0x0 size=16 dtype=f32 first=0 last=13
.region b space=activation start=0x10 size=16 dtype=f32 first=0 last=13
.region p space=activation start=0x20 size=4 dtype=f32 first=0 last=13

view view=v0 space=dram dtype=f32 addr=0x0 rows=1 cols=4 row_stride=0 col_stride=1 region=x
view view=v1 space=activation dtype=f32 addr=0x0 rows=1 cols=4 row_stride=0 col_stride=1 region=a
load dst=v1 src=v0
loop count=3
.in first
view view=v2 space=activation dtype=f32 addr=0x10 rows=1 cols=4 row_stride=0 col_stride=1 region=b
vector_binary wait_load=1 dst=v2 src=v1 src2=v1 function=add
vector_copy wait_load=2 wait_mac=3 dst=v1 src=v2
.in second
mac_matmul src=v1 src2=v9
view_step view=v1 step=4
.in
end_loop
vector_fill dst=v1 value=0
vector_quantize dst=v1 src=v2 scale=v1
halt
"""
    shown = assembly.format(assembly.parse(text), commented=True)
    (first,) = [line for line in shown.splitlines() if "a <- x" in line]
    assert first.index(";") == 66
    shown = re.sub(" +; ", "  ; ", shown)
    lines = [line for line in shown.splitlines() if not line.startswith((".", "view view=v"))]
    rule = "-" * 84
    assert lines[1:] == [
        "load dst=v1 src=v0  ; a <- x",
        "loop_1:",
        "loop count=3",
        "",
        f"; {rule} first",
        f"  {VIEW}",
        "  vector_binary wait_load=1 dst=v2 src=v1 src2=v1 function=add  ; b <- a; after load",
        f"  vector_copy wait_load=2 wait_mac=3 dst=v1 src=v2  ; a <- b; {WAITS}",
        "",
        f"; {rule[:-1]} second",
        "  mac_matmul src=v1 src2=v9 acc=0  ; <- a, ?",
        "  view_step view=v1 step=4  ; <- a",
        "end_loop  ; of loop_1",
        "vector_fill dst=v1 value=0.0  ; a <-",
        "vector_quantize dst=v1 src=v2 scale=v1  ; a <- b",
        "halt",
    ]  # fmt: skip


def test_a_register_may_show_several_tensors_where_ways_meet() -> None:
    lines = [
        "view view=v0 region=a",
        "again:",
        "load dst=v0 src=v1",
        "branch left=s1 right=s2 target=out",
    ]
    lines += ["view view=v0 region=b", "branch target=again", "view view=v0 region=never", "out:"]
    program = assembly.parse("\n".join([*lines, "store dst=v1 src=v0", "halt"]))
    assert successors(program.instructions) == [(1,), (2,), (3, 6), (4,), (1,), (6,), (7,), ()]
    names = regions_of_views(program)
    assert names[1] == names[6] == {0: {"a", "b"}}
    assert names[5] == {}  # nothing leads there
    assert comments(program)[1] == "a or b <- ?"
    shown = assembly.format(program, commented=True)
    assert "\nL1:\nload " in shown
    assert "target=L6" in shown


def test_loops_have_labels_from_outside_in() -> None:
    nested = (
        "loop count=2\nloop count=3\nend_loop\nend_loop\nloop count=4\nend_loop\nend_loop\nhalt"
    )
    program = assembly.parse(nested)
    assert loop_labels(program.instructions) == {
        0: "loop_1", 1: "loop_2", 2: "loop_2", 3: "loop_1", 4: "loop_3", 5: "loop_3",
    }  # fmt: skip
    shown = re.sub(" +; ", "  ; ", assembly.format(program, commented=True))
    assert "\nloop_1:\nloop count=2\n  loop_2:\n  loop count=3\n  end_loop  ; of loop_2\n" in shown
    assert "\nend_loop\nhalt\n" in shown  # one too many has no loop


def test_views_that_an_instruction_does_not_use_are_left_out() -> None:
    text = "mac_drain dst=v1 src=v2 scale=v3 function=none acc=0"
    assert assembly.format_instruction(assembly.parse_instruction(text)) == text
    kept = "mac_drain dst=v1 src=v2 scale=v3 bias=v4 function=none acc=0"
    assert assembly.format_instruction(assembly.parse_instruction(kept)) == kept
    used = "mac_drain dst=v1 src=v2 scale=v3 bias=v0 function=none use_bias=1 acc=0"
    assert assembly.format_instruction(assembly.parse_instruction(used)) == used


def test_an_empty_program_has_nothing_beside_it() -> None:
    program = Program("empty", (), stream=Stream(1, None, False))
    assert comments(program) == []
    assert same_again(program)
