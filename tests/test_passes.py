"""The compiler's passes: their order, what each promises, and how their values are shown."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from azsim import pipeline
from azsim.cli import main
from azsim.compiler.compile import PASSES, compile_graph
from azsim.compiler.fold import fold
from azsim.compiler.lower import lower
from azsim.compiler.schedule import Item, walk
from azsim.compiler.valid import check_pass
from azsim.errors import CompileError
from azsim.evaluate import evaluate
from azsim.folder import read_folder
from azsim.frontend.workload import load_workload
from azsim.ir import CompressedGraph, Graph
from azsim.isa.program import Instruction, Stream
from azsim.ops.lowering import Loop, Matmul
from azsim.report.passes import PassTables, pass_tables
from compiled import AZ1, MIXED_STATE, VARIANTS, chip, execute_graph, graph_of, mixed_graph, node
from graphs import compress, type_of

F = np.float32
TINY = VARIANTS["tiny weight SRAM"]
WORKLOAD = """
name: small
model:
  graph:
    inputs: {x: {shape: [1, 8]}}
    initializers: {w: {shape: [8, 4], random: {seed: 1}}}
    nodes:
      - {op: MatMul, name: product, inputs: [x, w], outputs: [y]}
      - {op: Sigmoid, name: squashed, inputs: [y], outputs: [p]}
    outputs: [p]
input: {random: {seed: 0}}
"""


def _observed(variant: str = "az1") -> dict[str, Any]:
    made: dict[str, Any] = {}
    compile_graph(
        compress(mixed_graph()), VARIANTS[variant], Stream(8, None, False), MIXED_STATE, "g",
        made.__setitem__,
    )  # fmt: skip
    return made


# ------------------------------------------------------------------------------ the list


def test_every_pass_is_a_file_with_a_contract() -> None:
    files = read_folder("azsim.compiler")
    for name in PASSES:
        assert "\nContract: takes " in files[name].document, name


def test_passes_are_observed_in_their_order() -> None:
    assert tuple(_observed()) == PASSES


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_value_has_tables_and_keeps_its_promise(variant: str) -> None:
    made = _observed(variant)
    for name, value in made.items():
        tables = pass_tables(name, value)
        assert tables
        assert all(table.title.startswith(f"After {name}: ") for table in tables)
        assert all(len(row) == len(table.columns) for table in tables for row in table.rows)
        check_pass(name, value, made, VARIANTS[variant])
    with pytest.raises(TypeError, match="no table for the int that order makes"):
        pass_tables("order", 3)


# ------------------------------------------------------------------------- valid in and out


def _first(items: Any, mnemonic: str) -> Item:
    return next(item for item in walk(items) if item.mnemonic == mnemonic)


def _wrong_graph(made: dict[str, Any]) -> Any:
    compressed = made["fold"].compressed
    graph = replace(compressed.graph, nodes=compressed.graph.nodes[1:])
    return replace(made["fold"], compressed=replace(compressed, graph=graph))


def _wrong_step(made: dict[str, Any]) -> Any:
    lowering = made["lower"]
    steps = [
        (layer, replace(step, dst=replace(step.dst, offset=1000, cols=7)))
        if isinstance(step, Matmul)
        else (layer, step)
        for layer, step in lowering.steps
    ]
    lowering.steps[:] = steps
    return lowering


def _unwritten(made: dict[str, Any]) -> Any:
    lowering = made["lower"]
    del lowering.steps[:2]  # zeros of the padding, and the codes
    return lowering


def _other_rows(made: dict[str, Any]) -> Any:
    lowering = made["arrange"]
    weight = lowering.compressed.weights["wf"]
    rows = np.array([1, 1, 2, 3])
    other = replace(weight, codes=weight.codes[rows], scales=weight.scales[:, rows])
    weights = {**lowering.compressed.weights, "wf": other}
    lowering.compressed = replace(lowering.compressed, weights=weights)
    return lowering


def _late_parameters(made: dict[str, Any]) -> Any:
    return replace(made["parameters"], offset_of={"wf": 100_000})


def _wrong_tiles(made: dict[str, Any]) -> Any:
    tiles = dict(made["residency"].tiles)
    tiles["wf"] = (*tiles["wf"], replace(tiles["wf"][0], n0=1, n1=2, k0=2, k1=3))
    return replace(made["residency"], tiles=tiles, pinned=frozenset({"nothing"}))


def _missing_block(made: dict[str, Any]) -> Any:
    blocks = dict(made["encode"])
    (name, block) = blocks.popitem()
    return {**blocks, f"{name}!": block}


def _wrong_slot(made: dict[str, Any]) -> Any:
    schedule = made["prefetch"]
    body = tuple(
        item for item in schedule.body
        if not (isinstance(item, Item) and item.mnemonic == "weight_load")
    )  # fmt: skip
    assert len(body) < len(schedule.body)
    return replace(schedule, body=body)


def _wrong_item(made: dict[str, Any]) -> Any:
    schedule = made["order"]
    strange = Item("vector_dance", "here")
    wrong = Item("halt", "there", {"steps": 1})
    return replace(schedule, body=(*schedule.body, strange, wrong))


def _moved(made: dict[str, Any], **addresses: int) -> Any:
    allocation = made["allocate"]
    return replace(allocation, addresses={**allocation.addresses, **addresses})


def _overlap(made: dict[str, Any]) -> Any:
    return _moved(made, x=made["allocate"].addresses["(start)"])


def _beyond(made: dict[str, Any]) -> Any:
    return _moved(made, x=1 << 30)


def _parts_beyond(made: dict[str, Any]) -> Any:
    schedule = made["fill"]
    longer = {name: replace(schedule.storages[name], size_bytes=25) for name in ("h", "c")}
    made["fill"] = replace(schedule, storages={**schedule.storages, **longer})
    return made["allocate"]


def _part_elsewhere(made: dict[str, Any]) -> Any:
    return _moved(made, h=made["allocate"].addresses["c"])


def _open_loop(made: dict[str, Any]) -> Any:
    program = made["synchronize"]
    instructions = tuple(
        Instruction("halt") if instruction.mnemonic == "end_loop" else instruction
        for instruction in program.instructions
    )
    return replace(program, instructions=(*instructions[:-1], Instruction("fence")), layer_of=())


def _short_image(made: dict[str, Any]) -> Any:
    return replace(made["image"], data=made["image"].data[:64])


@pytest.mark.parametrize(
    ("name", "change", "sentences"),
    [
        ("fold", _wrong_graph, ["node Relu_relu reads conv before it is made"]),
        ("lower", _wrong_step, [
            "layer Gemm_dense: Matmul.dst takes elements 1000 to 1006 of probability, which has 4",
            "layer Gemm_dense: wf of 4 x 6 takes codes of 1 x 6 to 1 x 7",
        ]),
        ("lower", _unwritten, [
            "layer Conv_conv: Matmul.codes reads Conv_conv#codes before it is written",
        ]),
        ("arrange", _other_rows, ["weight wf has other rows, or scales, than the graph's"]),
        ("parameters", _late_parameters, ["wf begins at 100000 of 90 values"]),
        ("residency", _wrong_tiles, [
            "weight wf: row 1, column 2 is in 2 tiles", "nothing is pinned and no tile",
        ]),
        ("encode", _missing_block, ["wf[0:4,0:6] has no block"]),
        ("order", _wrong_item, [
            "layer here: no instruction vector_dance", "layer there: halt has no operand steps",
        ]),
        ("allocate", _overlap, ["share bytes of activation SRAM while both live"]),
        ("allocate", _beyond, ["x ends at byte 1073741848 of activation SRAM's 131072"]),
        ("allocate", _part_elsewhere, ["h is not at byte 0 of (start)"]),
        ("allocate", _parts_beyond, [
            "h and c share bytes of (start)", "c ends at byte 49 of (start)'s 48",
        ]),
        ("synchronize", _open_loop, ["loops never end", "the last instruction is no halt"]),
        ("image", _short_image, ["64 bytes, "]),
    ],
)  # fmt: skip
def test_a_broken_promise_is_named(
    name: str, change: Callable[[dict[str, Any]], Any], sentences: list[str]
) -> None:
    made = _observed()
    value = change(made)
    with pytest.raises(CompileError) as caught:
        check_pass(name, value, made, AZ1)
    found = str(caught.value)
    assert all(line.startswith(f"after {name}: ") for line in found.splitlines())
    for sentence in sentences:
        assert sentence in found


def test_a_slot_that_holds_something_else_is_named() -> None:
    hardware = chip(weight_sram__bytes=1024, mac__lanes=4)
    made: dict[str, Any] = {}
    graph = graph_of(
        {"x": (1, 64)}, {"w": np.ones((64, 64), F)}, [node("MatMul", ["x", "w"], "y")], ("y",)
    )
    compile_graph(
        compress(graph), hardware, Stream(2, None, False), {}, "g", made.__setitem__
    )  # fmt: skip
    with pytest.raises(
        CompileError, match=r"after prefetch: layer MatMul_y: mac_matmul reads src2 "
    ):
        check_pass("prefetch", _wrong_slot(made), made, hardware)


def test_sums_of_another_frame_are_named() -> None:
    made = _observed()
    schedule = made["order"]
    body = list(schedule.body)
    product, drain = (
        next(number for number, item in enumerate(body) if item.mnemonic == mnemonic)
        for mnemonic in ("mac_matmul", "mac_drain")
    )
    layer = body[drain].layer
    without = replace(schedule, body=(*body[:product], *body[product + 1 :]))
    sentence = f"layer {layer}: mac_drain of frame 0 finds sums of nobody"
    with pytest.raises(CompileError, match=sentence):
        check_pass("together", without, made, AZ1)
    body[product] = replace(body[product], frame=1)
    sentence = f"layer {layer}: mac_drain of frame 0 finds sums of layer {layer}, frame 1"
    with pytest.raises(CompileError, match=sentence):
        check_pass("together", replace(schedule, body=tuple(body)), made, AZ1)


# ------------------------------------------------------------------------------- folding


def _raw_graph() -> Graph:
    """A graph that no front end has folded: constants multiplied, and a node nobody needs."""
    rng = np.random.default_rng(5)
    types = {
        "x": type_of(2, 3), "k": type_of(2, 4), "w": type_of(4, 3), "kw": type_of(2, 3),
        "s": type_of(2, 3), "y": type_of(2, 3), "dead": type_of(2, 3),
    }  # fmt: skip
    constants = {"k": rng.standard_normal((2, 4)).astype(F),
                 "w": rng.standard_normal((4, 3)).astype(F)}  # fmt: skip
    nodes = (
        node("MatMul", ["k", "w"], "kw"), node("Sigmoid", ["kw"], "s"),
        node("Add", ["x", "s"], "y"), node("Neg", ["x"], "dead"),
    )  # fmt: skip
    return Graph("g", {"x": types["x"]}, ("y",), constants, nodes, types)


def test_constants_are_computed_with_the_codes_and_the_dead_dropped() -> None:
    compressed = compress(_raw_graph())
    inputs = {"x": np.arange(6, dtype=F).reshape(2, 3)}
    tensors = evaluate(compressed.graph, inputs, compressed)
    folded = fold(compressed)
    assert [one.op for one in folded.compressed.graph.nodes] == ["Add"]
    constant = folded.compressed.graph.initializers["s"]
    assert constant.tobytes() == tensors["s"].tobytes()
    assert folded.gone == {
        "kw": "MatMul_kw has constants only: computed as it is compiled",
        "s": "Sigmoid_s has constants only: computed as it is compiled",
        "dead": "no output needs it",
    }
    ran = execute_graph(compressed, AZ1, {"x": inputs["x"][None]})
    assert ran.execution.outputs["y"].tobytes() == tensors["y"].tobytes()
    assert set(folded.gone) <= set(ran.compiled.fused)


def test_a_graph_without_constants_or_dead_nodes_stays_as_it_is() -> None:
    compressed: CompressedGraph = compress(mixed_graph())
    assert fold(compressed).compressed is compressed


# ------------------------------------------------------------- sums that fit, inputs at once


def test_sums_beyond_int32_are_refused() -> None:
    """700 products of 127 by 32767 are beyond 2**31: compression splits K before that."""
    graph = graph_of(
        {"x": (1, 700)}, {"w": np.ones((700, 2), F)}, [node("MatMul", ["x", "w"], "y")], ("y",)
    )
    compressed = compress(graph, activation_bits=16)
    ((name, weight),) = compressed.weights.items()
    full = replace(weight, codes=np.full_like(weight.codes, -127))
    sentence = (
        r"^after fold: weight w: sums over columns 0 to 699 may reach 2912986300, beyond int32$"
    )
    with pytest.raises(CompileError, match=sentence):
        fold_checked(replace(compressed, weights={name: full}))
    halves = replace(full, segments=(0, 512, 700), scales=np.repeat(full.scales, 2, axis=0))
    fold_checked(replace(compressed, weights={name: halves}))


def fold_checked(compressed: CompressedGraph) -> None:
    check_pass("fold", fold(compressed), {}, AZ1)


@pytest.mark.kernels
def test_a_large_k_of_wide_activations_is_split_and_bit_exact(small: str) -> None:
    """Of 4,096 random weights at 8 bits, sums with int16 activations would not fit int32."""
    text = WORKLOAD.replace("[1, 8]", "[1, 4096]").replace("[8, 4]", "[4096, 4]")
    Path(small).write_text(text + "compression: {default: {activations: {bits: 16}}}\n")
    result = pipeline.run(load_workload(small), verify=True)
    assert result.comparison is not None
    assert result.comparison.bit_exact
    assert "K is split so that int32 holds every sum: w" in result.notes
    weight = pipeline.compress_workload(load_workload(small)).weights["w"]
    segments = list(itertools.pairwise(weight.segments))
    assert len(segments) > 1
    for low, high in segments:
        largest = np.abs(weight.codes[:, low:high]).sum(axis=1, dtype=np.int64).max()
        assert largest * 32767 < 1 << 31


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_inputs_of_all_time_steps_are_multiplied_before_the_loop(steps: int) -> None:
    lowering = lower(compress(mixed_graph(steps)))
    own = [step for layer, step in lowering.steps if layer == "LSTM_y"]
    outside = [step for step in own if isinstance(step, Matmul)]
    loops = [step for step in own if isinstance(step, Loop)]
    inputs = [step for step in outside if step.weight == "w"]
    assert [step.codes.rows for step in inputs] == [steps]
    assert [loop.count for loop in loops] == ([steps] if steps > 1 else [])
    inside = {step.weight for loop in loops for step in loop.body if isinstance(step, Matmul)}
    assert inside == ({"r"} if steps > 1 else set())


# --------------------------------------------------------------------------- command line


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    Path("small.yaml").write_text(WORKLOAD)
    return "small.yaml"


def test_print_after_shows_a_pass(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", small, "--print-after", "lower", "--print-after", "residency"]) == 0
    shown = capsys.readouterr().out
    assert "After lower: steps\n" in shown
    assert "product  y[0: 1 x 4] = product#codes[0: 1 x 8] x w\n" in shown
    assert "After residency: tiles\n" in shown
    assert "After order" not in shown
    assert "\nPasses\n" in shown


def test_all_passes_as_json(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", small, "--print-after", "all", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document) == list(PASSES)
    assert document["residency"][0][0]["place"] == "pinned"


@pytest.mark.kernels
def test_a_run_shows_passes_as_well(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", small, "--print-after", "fold", "-o", "run"]) == 0
    shown = capsys.readouterr().out
    assert shown.index("After fold: nodes\n") < shown.index("Lower bounds")
    assert main(["run", small, "--print-after", "fold", "--json", "-o", "run"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["node"] for row in document["passes"]["fold"][0]] == ["product", "squashed"]
    assert main(["run", small, "--print-after", "flod", "-o", "run"]) == 2
    assert "unknown pass 'flod', did you mean 'fold'?" in capsys.readouterr().err


def test_without_a_pass_there_is_an_overview(
    small: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", small]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[3:]] == list(PASSES)


def test_an_unknown_pass_names_the_nearest(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", small, "--print-after", "alocate"]) == 2
    allowed = ", ".join((*PASSES, "all"))
    assert capsys.readouterr().err == (
        f"azsim: error: unknown pass 'alocate', did you mean 'allocate'? allowed: {allowed}\n"
    )


def test_a_program_is_not_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "kernel.azs"]) == 2
    assert capsys.readouterr().err == (
        "azsim: error: kernel.azs: is a program already, allowed: a workload\n"
    )


def test_passes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "passes", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["name"] for record in records] == list(PASSES)
    assert all(record["meaning"] for record in records)
    assert all(record["contract"].startswith("takes ") for record in records)


def test_tables_are_made_when_a_pass_ends() -> None:
    shown = PassTables(("lower",))
    compile_graph(
        compress(mixed_graph()), TINY, Stream(1, None, False), {}, "g", shown
    )  # fmt: skip
    assert list(shown.tables) == ["lower"]
    assert list(shown.made) == list(PASSES)
