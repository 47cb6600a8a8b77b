"""What the checkers say of programs written by hand, and that they say nothing of compiled ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim.codecs import encode_block
from azsim.compiler.compile import Compiled, compile_graph
from azsim.errors import CompileError
from azsim.hardware import load_hardware, preset_names
from azsim.hardware.description import Hardware
from azsim.isa import assembly
from azsim.isa.program import DramImage, Instruction, Program, Stream
from azsim.isa.spec import instruction_set
from azsim.resources import isa_directory
from azsim.sim.checks import Finding, Verdict, check_program, checkers
from azsim.stages.prove import prove
from compiled import AZ1, MIXED_STATE, VARIANTS, chip, graph_of, mixed_graph, node
from graphs import compress, random_graph
from strategies import instructions

# --------------------------------------------------------------------------- reading verdicts


def _verdicts(text: str, hardware: Hardware = AZ1) -> dict[str, Verdict]:
    program = assembly.parse(text)
    return {verdict.check: verdict for verdict in check_program(program, hardware)}


def _sentences(findings: Sequence[Finding]) -> list[str]:
    return [finding.sentence for finding in findings]


def _found(text: str, hardware: Hardware = AZ1) -> dict[str, list[str]]:
    """Sentences of every check that found something."""
    verdicts = _verdicts(text, hardware)
    return {name: _sentences(v.findings) for name, v in verdicts.items() if v.findings}


def _unproved(text: str, hardware: Hardware = AZ1) -> dict[str, list[str]]:
    verdicts = _verdicts(text, hardware)
    return {name: _sentences(v.unproved) for name, v in verdicts.items() if v.unproved}


def _silent(verdicts: Sequence[Verdict]) -> bool:
    return {verdict.check for verdict in verdicts} == set(checkers()) and not any(
        verdict.findings or verdict.unproved for verdict in verdicts
    )


# ------------------------------------------------------------------ nothing to say of these


@pytest.mark.slow
@settings(max_examples=25)
@given(
    seed=st.integers(0, 1 << 32),
    variant=st.sampled_from(sorted(VARIANTS)),
    bits=st.sampled_from([2, 4, 8]),
    activation_bits=st.sampled_from([8, 16]),
    frames=st.integers(1, 40),
)
def test_compiled_random_graphs_are_proved(
    seed: int, variant: str, bits: int, activation_bits: int, frames: int
) -> None:
    graph, hardware = random_graph(seed), VARIANTS[variant]
    compiled = compile_graph(
        compress(graph, bits, activation_bits), hardware, Stream(frames, None, False), {}, "g"
    )
    assert _silent(check_program(compiled.program, hardware, compiled.image))


def _mixed(variant: str, frames: int) -> tuple[Compiled, Hardware]:
    stream = Stream(frames, None, False)
    hardware = VARIANTS[variant]
    return compile_graph(compress(mixed_graph()), hardware, stream, MIXED_STATE, "g"), hardware


@pytest.mark.slow
@pytest.mark.parametrize("frames", [1, 2, 3, 1000])
@pytest.mark.parametrize("variant", VARIANTS)
def test_carried_state_and_streamed_weights_are_proved(variant: str, frames: int) -> None:
    compiled, hardware = _mixed(variant, frames)
    assert _silent(check_program(compiled.program, hardware, compiled.image))


@pytest.mark.slow
@pytest.mark.fetch
@pytest.mark.parametrize("preset", preset_names())
def test_the_speech_model_is_proved(preset: str) -> None:
    from azsim.frontend.workload import load_workload
    from azsim.pipeline import compile_workload

    hardware = load_hardware(preset)
    compiled = compile_workload(load_workload("vad_silero"), hardware, proves=False)
    assert _silent(check_program(compiled.program, hardware, compiled.image))


@pytest.mark.parametrize("name", ["greedy", "lstm_cell", "sparse_matvec"])
def test_the_worked_examples_are_proved(name: str) -> None:
    program = assembly.parse((isa_directory() / "examples" / f"{name}.azs").read_text())
    assert _silent(check_program(program, AZ1))


def test_the_work_does_not_grow_with_the_number_of_frames() -> None:
    # Both loops are walked until a round brings nothing new; a walk of all rounds would take hours.
    few, hardware = _mixed("tiny weight SRAM", 8)
    many, _ = _mixed("tiny weight SRAM", 1_000_000)
    looked_at = [
        [verdict.looked_at for verdict in check_program(compiled.program, hardware, None)]
        for compiled in (few, many)
    ]
    assert looked_at[0] == looked_at[1]


@settings(max_examples=150)
@given(st.lists(instructions(), max_size=12), st.booleans())
def test_no_instructions_make_a_checker_fail(body: list[Instruction], has_image: bool) -> None:
    few_views = [
        Instruction(
            entry.mnemonic,
            {
                name: value % 3
                if instruction_set().fields[name].unit == "view" and isinstance(value, int)
                else value % (len(body) + 1)
                if name == "target" and isinstance(value, int)
                else value
                for name, value in entry.operands.items()
            },
        )
        for entry in body
    ]
    program = Program("p", (*few_views, Instruction("halt")))
    image = DramImage(np.zeros(4096, np.uint8)) if has_image else None
    verdicts = check_program(program, AZ1, image)
    assert len(verdicts) == len(checkers()) or verdicts[0].findings


# --------------------------------------------------------------------------------- the checks

HAND = """
.layer one
.region a space=activation start=0x0 size=32 dtype=f32 first=0 last=99
.region x space=dram start=0x0 size=128 dtype=f32 first=0 last=99
view view=v0 space=dram dtype=f32 addr=0x0 cols=8 col_stride=1 region=x
view view=v1 space=activation dtype=f32 addr=0x0 cols=8 col_stride=1 region=a
view view=v2 space=dram dtype=f32 addr=0x40 cols=8 col_stride=1 region=x
.in one
load dst=v1 src=v0
vector_unary wait_load=1 dst=v1 src=v1 function=relu
store wait_vector=1 dst=v2 src=v1
halt
"""


def test_a_sound_program_has_nothing_found() -> None:
    assert _silent(check_program(assembly.parse(HAND), AZ1))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "space=activation dtype=f32 addr=0x0",
            "space=activation dtype=f32 addr=0x4",
            "dst reaches activation bytes [0x4, 0x24) of 'a', outside that region [0x0, 0x20)",
        ),
        (
            "last=99\n.region x",
            "last=2\n.region x",
            "dst reaches activation bytes [0x0, 0x20) of 'a', which lives from instruction 0 to 2",
        ),
        (
            "region=a",
            "region=b",
            "dst reaches activation bytes [0x0, 0x20) of 'b', and no region has that name",
        ),
        (
            "region=a",
            "region=x",
            "dst reaches activation bytes [0x0, 0x20) of 'x', which is a region of dram",
        ),
        (
            "addr=0x0 cols=8 col_stride=1 region=a",
            "addr=0x100 cols=8 col_stride=1",
            "dst reaches activation bytes [0x100, 0x120), which lie in no live region",
        ),
        (
            "addr=0x0 cols=8 col_stride=1 region=a",
            "addr=0x1fffc cols=8 col_stride=1",
            "dst reaches activation bytes [0x1fffc, 0x2001c), the memory has 131072 bytes",
        ),
        ("load dst=v1", "load dst=v9", "dst is v9, which nothing has set"),
        ("load dst=v1", "load dst=v2", "dst lies in dram"),
        (
            "dtype=f32 addr=0x0 cols=8 col_stride=1 region=a",
            "dtype=f32 addr=0x0 cols=4 col_stride=1 region=a",
            "src is 1 x 8, dst is 1 x 4",
        ),
    ],
)
def test_bounds(old: str, new: str, sentence: str) -> None:
    text = HAND.replace(old, new)
    assert text != HAND
    verdict = _verdicts(text)["bounds"]
    assert verdict.findings[0] == Finding(3, f"instruction 3 (load, layer 'one'): {sentence}")


LOOP = """
view view=v0 space=dram dtype=f32 addr=0x0 cols=4 col_stride=1
view view=v1 space=activation dtype=f32 addr=0x0 cols=4 col_stride=1 region=a
.region a space=activation start=0x0 size=160 dtype=f32 first=0 last=99
.input x addr=0x0 shape=99 frames=1
loop count=5
  loop count=2
    load dst=v1 src=v0
    view_step view=v1 step=16
  end_loop
end_loop
halt
"""


def test_bounds_of_a_window_that_moves_in_nested_loops() -> None:
    assert _found(LOOP) == {}
    sentence = "instruction 4 (load): dst reaches activation bytes [{}) of 'a', outside that region"
    assert _found(LOOP.replace("step=16", "step=20")) == {
        "bounds": [sentence.format("0x0, 0xc4") + " [0x0, 0xa0)"]
    }
    assert _found(LOOP.replace("step=16", "step=-16")) == {
        "bounds": [("instruction 4 (load): dst reaches activation bytes [-0x90, 0x10) of 'a', the "
                   "memory has 131072 bytes")]
    }  # fmt: skip
    assert _found(LOOP.replace("step=16", "step=6")) == {
        "bounds": [("instruction 4 (load): dst reaches activation bytes [0x0, 0x46) of 'a', which "
                   "are not aligned to 4 bytes")]
    }  # fmt: skip
    back = LOOP.replace("end_loop\nend_loop", "end_loop\nview_step view=v1 step=-32\nend_loop")
    assert _found(back.replace("size=160", "size=32")) == {}
    assert "bounds" in _found(back.replace("size=160", "size=28"))


def test_a_register_that_served_bytes_may_serve_words_afterwards() -> None:
    text = """
    view view=v1 space=activation dtype=i8 addr=0x0 cols=3 col_stride=1
    loop count=3
      vector_fill dst=v1 value=1.0
      view_step view=v1 step=3
    end_loop
    view view=v1 space=activation dtype=f32 addr=0x40 cols=4 col_stride=1
    loop count=3
      vector_fill dst=v1 value=1.0
      view_step view=v1 step=16
    end_loop
    halt
    """
    assert _found(text) == {}
    assert _found(text.replace("step=16", "step=15")) == {
        "bounds": [("instruction 7 (vector_fill): dst reaches activation bytes [0x40, 0x6e), which "
                   "are not aligned to 4 bytes")]
    }  # fmt: skip


def test_operands_that_pass_through_each_other_are_not_proved() -> None:
    text = """
    view view=v1 space=activation dtype=f32 addr=0x0 cols=4 col_stride=1
    view view=v2 space=activation dtype=f32 addr=0x40 cols=4 col_stride=1
    vector_fill dst=v2 value=1.0
    loop count=9
      vector_unary dst=v1 src=v2 function=relu
      view_step view=v1 step=16
    end_loop
    halt
    """
    assert _unproved(text) == {
        "bounds": ["instruction 4 (vector_unary): its operands may overlap in some round"]
    }
    assert _unproved(text.replace("step=16", "step=16\nview_step view=v2 step=16")) == {}
    assert _unproved(text.replace("count=9", "count=4")) == {}


def test_a_view_placed_by_a_counter_is_bounded_and_one_placed_by_data_is_not() -> None:
    text = """
    view view=v0 space=dram dtype=f32 addr=0x0 cols=4 col_stride=1
    view view=v1 space=activation dtype=f32 addr=0x0 cols=4 col_stride=1 region=a
    view view=v2 space=activation dtype=i32 addr=0x800
    .region a space=activation start=0x0 size=80 dtype=f32 first=0 last=99
    .region n space=activation start=0x800 size=4 dtype=i32 first=0 last=99
    .input x addr=0x0 shape=99 frames=1
    scalar to=s1 number=0
    loop count=5
      view_at view=v1 left=s1 step=16
      load dst=v1 src=v0
      scalar to=s1 left=s1 number=1
    end_loop
    halt
    """
    assert _found(text) == {}
    assert _unproved(text) == {}
    assert _found(text.replace("size=80", "size=76")) == {
        "bounds": [
            (
                "instruction 6 (load): dst reaches activation bytes [0x0, 0x50) of 'a', outside "
                "that region [0x0, 0x4c)"
            )
        ]
    }
    by_data = text.replace("left=s1 number=1", "left=s1 number=1\nscalar_read src=v2 to=s1")
    assert _found(by_data) == {}
    assert _unproved(by_data) == {
        "bounds": [
            (
                "instruction 6 (load): dst (v1 of 'a') is placed by a number that is not known "
                "before the program runs"
            )
        ]
    }


def test_races() -> None:
    assert _found(HAND.replace("wait_load=1 ", "")) == {
        "races": [
            (
                "instruction 4 (vector_unary, layer 'one'): reads activation bytes [0x0, 0x20) of "
                "'a' that instruction 3 (load, layer 'one') writes, and no wait orders the two"
            ),
            # It knew of the load from the one that waited for it.
            (
                "instruction 5 (store, layer 'one'): reads activation bytes [0x0, 0x20) of 'a' "
                "that instruction 3 (load, layer 'one') writes, and no wait orders the two"
            ),
        ]
    }
    assert set(_found(HAND.replace("wait_vector=1 ", ""))) == {"races"}
    assert set(_found(HAND.replace("wait_load=1", "wait_load=2"))) == {"races"}
    finding = _verdicts(HAND.replace("wait_load=1 ", ""))["races"].findings[0]
    assert (finding.index, finding.others) == (4, (3,))
    assert _found(HAND.replace("vector_unary wait_load=1", "fence\nvector_unary")) == {}


def test_a_race_between_rounds_of_a_loop() -> None:
    # The load of a round overwrites what the store of the round before still reads.
    loop = HAND.replace("load dst", "loop count=1000\nload wait_store=1 dst")
    loop = loop.replace("halt", "end_loop\nhalt")
    assert _found(loop) == {}
    assert _found(loop.replace("wait_store=1 ", "")) == {
        "races": [
            (
                "instruction 4 (load, layer 'one'): writes activation bytes [0x0, 0x20) of 'a' "
                "that instruction 5 (vector_unary, layer 'one') reads, and no wait orders the two"
            ),
            (
                "instruction 4 (load, layer 'one'): writes activation bytes [0x0, 0x20) of 'a' "
                "that instruction 6 (store, layer 'one') reads, and no wait orders the two"
            ),
            (
                "instruction 5 (vector_unary, layer 'one'): writes activation bytes [0x0, 0x20) of "
                "'a' that instruction 6 (store, layer 'one') reads, and no wait orders the two"
            ),
        ]
    }


BY_DATA = """
view view=v0 space=dram dtype=f32 addr=0x0 cols=8 col_stride=1
view view=v1 space=activation dtype=f32 addr=0x0 cols=8 col_stride=1
view view=v2 space=activation dtype=i32 addr=0x100
.input x addr=0x0 shape=8 frames=1
load dst=v1 src=v0
scalar_read src=v2 to=s1
branch left=s1 right=s0 target=without
vector_unary wait_load=1 dst=v1 src=v1 function=relu
without:
load wait_vector=1 dst=v1 src=v0
halt
"""


def test_races_where_data_decides_what_comes_next() -> None:
    assert _found(BY_DATA) == {}
    assert _unproved(BY_DATA) == {}
    # A wait that is missing on the way that takes no branch.
    dropped = BY_DATA.replace("unary wait_load=1", "unary")
    assert _found(dropped) == {
        "races": [
            (
                "instruction 6 (vector_unary): reads activation bytes [0x0, 0x20) that instruction "
                "3 (load) writes, and no wait orders the two"
            )
        ]
    }
    # On the way that leaves the first function out, the second one does not wait for the load.
    skipped = BY_DATA.replace(
        "load wait_vector=1 dst=v1 src=v0", "vector_unary dst=v1 src=v1 function=relu"
    )
    assert _found(skipped) == {}
    assert _unproved(skipped) == {
        "races": [
            (
                "instruction 7 (vector_unary): reads activation bytes [0x0, 0x20) that instruction "
                "3 (load) writes, which may be under way still"
            )
        ]
    }


def test_windows_that_move_keep_clear_of_each_other() -> None:
    # Row t is loaded while row t-1 is worked on; no wait is needed as long as they are apart.
    text = """
    view view=v0 space=dram dtype=f32 addr=0x0 cols=4 col_stride=1
    view view=v1 space=activation dtype=f32 addr=0x10 cols=4 col_stride=1
    view view=v2 space=activation dtype=f32 addr=0x0 cols=4 col_stride=1
    .input x addr=0x0 shape=99 frames=1
    vector_fill dst=v2 value=0.5
    loop count=20
      load dst=v1 src=v0
      vector_unary wait_load=2 dst=v2 src=v2 function=relu
      view_step view=v1 step=16
      view_step view=v2 step=16
    end_loop
    halt
    """
    assert _found(text) == {}
    assert _unproved(text) == {}
    assert list(_found(text.replace("wait_load=2", "wait_load=3"))) == ["races"]
    # A branch that can be decided is, before any loop is written out.
    branching = text.replace("halt", "branch target=last\nvector_fill dst=v2\nlast:\nhalt")
    assert _found(branching) == {}
    assert _unproved(branching) == {}
    racing = branching.replace("wait_load=2", "wait_load=3")
    assert list(_found(racing)) == ["races"]
    # Too long to be written out: what it takes is said, not passed over.
    long = text.replace("count=20", "count=30000")
    large = chip(activation_sram__bytes=1 << 20)
    assert _found(long, large) == {}
    assert _unproved(long, large) == {
        "races": [
            (
                "instruction 5 (load): writes activation bytes [0x10, 0x75300) that instruction 6 "
                "(vector_unary) reads, and may share bytes in some round"
            ),
            (
                "instruction 6 (vector_unary): reads activation bytes [0x10, 0x75300) that "
                "instruction 5 (load) writes, and may share bytes in some round"
            ),
        ]
    }


def test_deadlock() -> None:
    assert _found(HAND.replace("wait_load=1 ", "wait_load=1 wait_mac=3 ")) == {
        "deadlock": [
            (
                "instruction 4 (vector_unary, layer 'one'): wait_mac names nothing, as nothing is "
                "dispatched to the mac engine before"
            )
        ]
    }
    # The store of the round before is there from the second round on.
    loop = HAND.replace("load dst", "loop count=2\nload wait_store=1 dst")
    assert _found(loop.replace("halt", "end_loop\nhalt")) == {}
    assert "deadlock" in _found(
        loop.replace("halt", "end_loop\nhalt").replace("count=2", "count=1")
    )


def test_an_end_that_depends_on_data_is_not_proved() -> None:
    text = """
    view view=v0 space=activation dtype=i32 addr=0x0
    again:
    scalar_read src=v0 to=s1
    branch left=s1 right=s0 condition=greater target=again
    halt
    """
    assert _found(text) == {}
    assert _unproved(text)["deadlock"] == [
        "instruction 2 (branch): goes back to instruction 1, and its end depends on data"
    ]


def test_control_flow_of_program_files() -> None:
    endless = (Instruction("loop", {"count": 2}), Instruction("end_loop"))
    (verdict,) = check_program(Program("p", endless), AZ1)
    assert _sentences(verdict.findings) == [
        "instruction 1 (end_loop): the program ends without halt"
    ]
    (verdict,) = check_program(Program("p", ()), AZ1)
    assert _sentences(verdict.findings) == ["the program ends without halt"]
    inside = (Instruction("branch", {"target": 2}), Instruction("loop", {"count": 2}),
              Instruction("fence"), Instruction("end_loop"), Instruction("halt"))  # fmt: skip
    (verdict,) = check_program(Program("p", inside), AZ1)
    assert _sentences(verdict.findings) == [
        "instruction 0 (branch): target: instruction 2 lies inside another loop"
    ]


def test_control_comes_to_a_halt_on_every_way() -> None:
    def found(*body: Instruction) -> list[str]:
        (verdict, *_) = check_program(Program("p", body), AZ1)
        return _sentences(verdict.findings)

    by_data, halt = Instruction("branch", {"left": 1, "target": 2}), Instruction("halt")
    assert found(by_data, halt, Instruction("fence")) == [
        "instruction 2 (fence): control runs out of the program here, without halt"
    ]
    assert found(by_data, halt, Instruction("branch", {"target": 2})) == [
        "instruction 2 (branch): no way leads from here to a halt"
    ]
    assert found(by_data, halt, Instruction("branch", {"target": 1})) == []
    assert found(halt, Instruction("fence")) == []


# ---------------------------------------------------------------------------- accumulators

PRODUCT = """
.input block addr=0x0 shape=99 frames=1
view view=v0 space=dram dtype=u8 addr=0x0 cols={block} col_stride=1
view view=v1 space=weight dtype=i8 addr=0x0 rows=2 cols={k} row_stride={k} col_stride=1 region=w
view view=v2 space=activation dtype=f32 addr=0x0 rows=3 cols={k} row_stride={k} col_stride=1
view view=v3 space=activation dtype=i16 addr=0x8000 rows=3 cols={k} row_stride={k} col_stride=1
view view=v4 space=activation dtype=f32 addr=0x1fff0 rows=3 row_stride=1
.region w space=weight start=0x0 size={w} dtype=i8 first=0 last=99
weight_load dst=v1 src=v0
vector_quantize dst=v3 src=v2 scale=v4
mac_matmul wait_weight=1 wait_vector=1 src=v3 src2=v1 acc={acc}
loop count={count}
mac_matmul src=v3 src2=v1 acc={acc} accumulate=1
end_loop
halt
"""


def _product(k: int, count: int, acc: int = 0, block: int = 1) -> str:
    return PRODUCT.format(k=k, w=2 * k, count=count, acc=acc, block=block)


def test_accumulators() -> None:
    small = chip(mac__accumulators=64)
    assert _found(_product(4, 1, acc=58), small) == {}
    assert _found(_product(4, 1, acc=60), small)["accumulators"] == [
        f"instruction {index} (mac_matmul): accumulators 60 to 65 for 'w', there are 64"
        for index in (7, 9)
    ]


def test_overflow_sums_up_over_the_rounds_of_a_loop() -> None:
    # 16 products of 32767 * 128 are 67,106,816: 32 times that fits, 33 times does not.
    assert _found(_product(16, 31)) == {}
    assert _found(_product(16, 32)) == {
        "overflow": [
            (
                "instruction 9 (mac_matmul): an accumulator for 'w' can reach 2214524928 in "
                "magnitude, an int32 holds 2147483647"
            )
        ]
    }


def test_overflow_looks_at_the_weights_in_dram() -> None:
    codes = np.full((2, 16), 3, np.int8)
    block = encode_block("raw", codes, 8, columns=16)
    program = assembly.parse(_product(16, 1000, block=len(block)))
    image = DramImage(np.frombuffer(block, np.uint8))
    verdicts = {verdict.check: verdict for verdict in check_program(program, AZ1, image)}
    assert verdicts["overflow"].findings == ()
    assert verdicts["overflow"].looked_at == "products: 2, sums of at most 1574388816 in magnitude"
    codes[1, 5] = 120
    image = DramImage(np.frombuffer(encode_block("raw", codes, 8, columns=16), np.uint8))
    verdicts = {verdict.check: verdict for verdict in check_program(program, AZ1, image)}
    assert len(verdicts["overflow"].findings) == 1


def test_sums_of_tiles_are_added_row_by_row() -> None:
    # Each row is large in one half of K; the largest rows of both halves are not one row.
    weights = np.full((2, 800), 1, np.float32)
    weights[0, :400] = weights[1, 400:] = 100
    gemm = node("Gemm", ["x", "w"], "y", transB=1)
    graph = graph_of({"x": (1, 800)}, {"w": weights}, [gemm], ("y",))
    hardware = chip(weight_sram__bytes=1024)
    compiled = compile_graph(compress(graph, 8, 16), hardware, Stream(2, None, False), {}, "g")
    verdicts = check_program(compiled.program, hardware, compiled.image)
    assert _silent(verdicts)
    assert sum(entry.mnemonic == "mac_matmul" for entry in compiled.program.instructions) > 1
    looked_at = {verdict.check: verdict.looked_at for verdict in verdicts}["overflow"]
    assert looked_at.endswith(f"sums of at most {400 * (127 + 1) * 32767} in magnitude")


def test_sums_as_often_as_data_wants_are_not_proved() -> None:
    text = _product(16, 1).replace("loop count=1\n", "again:\n").replace(
        "end_loop", "scalar_read src=v5 to=s1\nbranch left=s1 target=again"
    )  # fmt: skip
    text = "view view=v5 space=activation dtype=i32 addr=0x1ff00" + text
    assert _unproved(text)["overflow"] == [
        "instruction 9 (mac_matmul): adds to accumulators for 'w' as often as data wants"
    ]


# -------------------------------------------------------------------------------- compiling


def test_a_wrong_program_is_a_defect_of_the_compiler() -> None:
    compiled, hardware = _mixed("az1", 3)
    prove(compiled, hardware)
    changed = list(compiled.program.instructions)
    at, store = next((n, e) for n, e in enumerate(changed) if e.mnemonic == "store")
    changed[at] = Instruction(
        "store", {name: value for name, value in store.operands.items() if name[:5] != "wait_"}
    )
    broken = replace(compiled, program=replace(compiled.program, instructions=tuple(changed)))
    with pytest.raises(CompileError) as error:
        prove(broken, hardware)
    first = str(error.value).splitlines()[0]
    assert first.startswith(
        "the compiler made a wrong program, which is a defect of azsim; races: "
        f"instruction {at} (store, layer '(output)'): reads activation bytes ["
    )
    assert first.endswith(", and no wait orders the two")
