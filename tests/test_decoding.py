"""Greedy decoding of transducers: on the chip as on the host, in chunks as at once, and proved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np
import pytest

from azsim.compiler.bounds import engine_bounds
from azsim.compiler.compile import compile_graph, necessary_steps
from azsim.compiler.frame_path import frame_path
from azsim.compiler.parameters import parameter_room_bytes, place_parameters
from azsim.compiler.regions import (
    Passed,
    counted,
    decisions_of_frames,
    executed_steps,
    passed_leaves,
    uncertain_weights,
)
from azsim.compiler.valid import check_pass
from azsim.errors import CompileError, UnsupportedError
from azsim.evaluate import evaluate, evaluate_stream
from azsim.hardware.description import Hardware
from azsim.ir import Graph, Node, TensorType, same_graph
from azsim.isa import assembly
from azsim.isa.program import Instruction, Program, Stream
from azsim.machine.trace import Trace
from azsim.ops._subgraph import captured
from azsim.ops.build import build_graph, lower_graph
from azsim.ops.lowering import Access, Copy, Fill, Leave, Loop, Matmul
from azsim.report.passes import pass_tables
from azsim.sim.checks import check_program
from azsim.sim.exact import replay_exact
from azsim.sim.execute import execute, write_inputs
from azsim.sim.races import check_races
from azsim.sim.statistics import measure
from azsim.sim.timing import replay
from azsim.stages.record import array_cycles
from compiled import AZ1, Ran, chip, execute_graph
from decoding import STATE, Decoded, Transducer, decode_on_host, transducer
from graphs import compress

MODELS = 200
CHIPS = {
    "all stays": AZ1,
    "some streams": chip(weight_sram__bytes=3776),
    "a loop holds some": chip(weight_sram__bytes=4600, mac__lanes=16),
    "all streams": chip(weight_sram__bytes=1664, mac__lanes=8),
    "skips both": chip(mac__zero_skip="both", mac__dataflow="outer", weight_sram__bytes=3776),
}


def _frames(model: Transducer, chunks: int, seed: int) -> dict[str, np.ndarray]:
    name = next(name for name in model.graph.inputs if name not in STATE)
    rng = np.random.default_rng(seed)
    shape = (chunks, *model.graph.inputs[name].shape)
    return {name: rng.standard_normal(shape).astype(np.float32)}


def _run(model: Transducer, frames: Mapping[str, np.ndarray], hardware: Hardware = AZ1) -> Ran:
    compressed = compress(model.graph)
    return execute_graph(compressed, hardware, frames, STATE, model.zero_state(), taps=True)


def _symbols(ran: Ran) -> list[list[int]]:
    """Symbols of each frame, of all chunks."""
    symbols, counts = (ran.execution.outputs[name] for name in ("symbols", "counts"))
    rows = symbols.reshape(-1, symbols.shape[-1])
    numbers = counts.reshape(-1)
    assert all((row[count:] == -1).all() for row, count in zip(rows, numbers, strict=True))
    return [row[:count].tolist() for row, count in zip(rows, numbers, strict=True)]


def _products(program: Program, trace: Trace, weight: str) -> int:
    """How often the run multiplied by the first tile of a weight."""
    region = next(r for r in program.regions if r.name.startswith(f"{weight}[0:"))
    times = Counter(trace.sequence)
    return sum(
        times[number]
        for number, site in enumerate(trace.sites)
        if site.mnemonic == "mac_matmul" and site.views["src2"].addr == region.start_bytes
    )


def _host(model: Transducer, frames: np.ndarray) -> Decoded:
    return decode_on_host(model, compress(model.graph), frames)


@pytest.mark.slow
def test_200_models_decode_on_the_chip_as_on_the_host() -> None:
    limits = empties = 0
    for seed in range(MODELS):
        model = transducer(
            seed,
            frames=2,
            limit=1 + seed % 4,
            blank_bias=(-3, 0, 1, 3, 9)[seed % 5],
            activation=("relu", "tanh")[seed % 2],
            blank=None if seed % 3 else 0,
        )
        frames = _frames(model, 1, seed + 1000)
        ran, host = _run(model, frames), _host(model, frames["f"][0])
        assert _symbols(ran) == host.symbols, seed
        for name, target in STATE.items():
            assert ran.execution.outputs[target].tobytes() == host.state[name].tobytes(), seed
        program, trace = ran.compiled.program, ran.execution.trace
        emitted = sum(map(len, host.symbols))
        assert host.predictions == emitted + 1
        assert _products(program, trace, "lstm_r") == host.predictions
        assert _products(program, trace, "out_w") == host.evaluations
        limits += any(len(found) == model.limit for found in host.symbols)
        empties += not emitted
    assert limits > 20
    assert empties > 20


@pytest.mark.slow
@pytest.mark.parametrize("name", CHIPS)
def test_bits_are_the_evaluators_wherever_weights_live(name: str) -> None:
    hardware = CHIPS[name]
    for seed, blank_bias in enumerate((0.0, 2.0)):
        model = transducer(
            seed, limit=3, features=24, hidden=12, embedding=12, joint=16, blank_bias=blank_bias
        )
        frames = _frames(model, 3, seed)
        ran = _run(model, frames, hardware)
        tensors, final = evaluate_stream(
            model.graph, frames, STATE, model.zero_state(), compress(model.graph)
        )
        for tensor, seen in ran.execution.tapped.items():
            assert np.stack(seen).tobytes() == tensors[tensor].tobytes(), tensor
        assert {"symbols", "counts", "f"} <= set(ran.execution.tapped)
        for state, target in STATE.items():
            assert ran.execution.outputs[target].tobytes() == final[state].tobytes()
        plan = ran.compiled.plan
        assert bool(plan.held) == (name == "a loop holds some")
        assert bool(plan.slot_bytes) == (name != "all stays")
        _is_proved(ran.compiled.program, hardware, ran)


@pytest.mark.slow
def test_constants_that_do_not_fit_come_in_each_part() -> None:
    hardware = chip(weight_sram__bytes=1664, mac__lanes=8, activation_sram__bytes=2048)
    model = transducer(1, limit=3, features=24, hidden=12, embedding=12, joint=16, blank_bias=0.5)
    frames = _frames(model, 3, 1)
    ran = _run(model, frames, hardware)
    pieces = [r.name for r in ran.compiled.program.regions if "@" in r.name and "#" in r.name]
    assert len([name for name in pieces if "[" not in name]) == 7
    tensors, _ = evaluate_stream(
        model.graph, frames, STATE, model.zero_state(), compress(model.graph)
    )
    assert ran.execution.outputs["symbols"].tobytes() == tensors["symbols"].tobytes()
    _is_proved(ran.compiled.program, hardware, ran)


def _is_proved(program: Program, hardware: Hardware, ran: Ran) -> None:
    for verdict in check_program(program, hardware, ran.compiled.image):
        assert not verdict.findings
        assert not verdict.unproved, verdict.check
    assert not check_races(program, ran.execution.trace)


def test_chunks_give_what_one_shot_gives() -> None:
    whole = transducer(4, frames=6, limit=3, blank_bias=1.0)
    frames = _frames(whole, 1, 0)["f"]
    found = []
    for length in (1, 2, 3, 6):
        model = transducer(4, frames=length, limit=3, blank_bias=1.0)
        ran = _run(model, {"f": frames.reshape(-1, length, frames.shape[-1])})
        states = [ran.execution.outputs[name].tobytes() for name in STATE.values()]
        found.append((_symbols(ran), states))
    assert sum(map(len, found[0][0])) > 3
    assert all(entry == found[0] for entry in found)


def test_a_run_without_symbols_runs_the_prediction_network_once() -> None:
    model = transducer(0, blank_bias=100.0, limit=30)
    ran = _run(model, _frames(model, 4, 0))
    assert _symbols(ran) == [[]] * 12
    assert _products(ran.compiled.program, ran.execution.trace, "lstm_w") == 1
    (gathers,) = [i for i, e in enumerate(ran.compiled.program.instructions)
                  if e.mnemonic == "load_gather"]  # fmt: skip
    assert all(site.index != gathers for site in ran.execution.trace.sites)


@pytest.mark.parametrize("blank_bias", [0.0, 100.0])
def test_tensors_are_seen_once_a_frame_also_where_one_symbol_or_none_is_left_out(
    blank_bias: float,
) -> None:
    model = transducer(1, frames=1, limit=1, features=8, blank_bias=blank_bias)
    frames = _frames(model, 8, 0)
    ran = _run(model, frames)
    assert {len(found) for found in _symbols(ran)} == ({0} if blank_bias else {0, 1})
    tensors, _ = evaluate_stream(
        model.graph, frames, STATE, model.zero_state(), compress(model.graph)
    )
    for tensor, seen in ran.execution.tapped.items():
        assert len(seen) == 8, tensor
        assert np.stack(seen).tobytes() == tensors[tensor].tobytes(), tensor


def test_a_stream_that_has_started_does_not_start_again() -> None:
    model = transducer(1, blank_bias=100.0)
    state = {name: array + np.float32(1) for name, array in model.zero_state().items()}
    frames = _frames(model, 1, 0)
    compressed = compress(model.graph)
    ran = execute_graph(compressed, AZ1, frames, STATE, state)
    for name in ("g", "h", "c"):
        assert ran.execution.outputs[STATE[name]].tobytes() == state[name].tobytes()


def test_the_cycle_stepped_clock_agrees() -> None:
    model = transducer(3, frames=2, limit=2, blank_bias=-3.0)
    ran = _run(model, _frames(model, 2, 0))
    fast = replay(ran.execution.trace, ran.compiled.program, AZ1).cycles
    exact = replay_exact(ran.execution.trace, ran.compiled.program, AZ1).cycles
    assert abs(fast - exact) <= 0.02 * exact


def test_the_run_tells_what_data_decided() -> None:
    model = transducer(2, frames=3, limit=3, blank_bias=0.5)
    frames = _frames(model, 2, 5)
    ran, host = _run(model, frames), _host(model, frames["f"].reshape(6, -1))
    passed = passed_leaves(ran.compiled.leaves, ran.compiled.program, ran.execution.trace)
    emitted = sum(map(len, host.symbols))
    spoken = sum(any(host.symbols[chunk : chunk + 3]) for chunk in (0, 3))
    assert sorted(passed.values(), key=lambda one: one.reached) == [
        Passed(2, 1, 1),  # chunks, of which the first one begins the stream
        Passed(host.evaluations, emitted, spoken),
    ]


def test_what_ran_is_known_frame_by_frame() -> None:
    model = transducer(0, frames=3, limit=3, blank_bias=0.0)
    frames = _frames(model, 4, 5)
    ran, host = _run(model, frames), _host(model, frames["f"].reshape(12, -1))
    program, trace = ran.compiled.program, ran.execution.trace
    decided = decisions_of_frames(ran.compiled.leaves, program, trace)
    assert len(decided) == 4
    lowering = necessary_steps(ran.compiled.compressed, AZ1)
    steps = [step for _, step in lowering.steps]
    products: Counter[str] = Counter()
    path_of: list[tuple[int, int]] = []
    for chunk, decisions in enumerate(decided):
        executed = [step for step, _ in executed_steps(steps, decisions)]
        products += Counter(step.weight for step in executed if isinstance(step, Matmul))
        symbols = sum(map(len, host.symbols[3 * chunk : 3 * chunk + 3]))
        path = frame_path(lowering, AZ1, STATE, lambda _: 1.0, decisions)
        path_of += [(symbols, path)] if chunk else []  # the first one begins the stream
        assert path >= frame_path(lowering, AZ1, STATE, lambda _: 1.0)
    assert products == {name: _products(program, trace, name) for name in products}
    assert len({symbols for symbols, _ in path_of}) > 1
    assert [path for _, path in sorted(path_of)] == sorted(path for _, path in path_of)


def _without(program: Program, index: int) -> Program:
    """The program with an instruction that does nothing in the place of another."""
    instructions = list(program.instructions)
    instructions[index] = Instruction("scalar", {"to": 20, "number": 1})
    return replace(program, instructions=tuple(instructions))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["all stays", "all streams"])
def test_a_fence_that_is_missing_is_caught_or_was_not_needed(name: str) -> None:
    """Not needed is one between parts that an engine's own order keeps apart."""
    model = transducer(0, frames=2, limit=2, features=24, hidden=12, embedding=12, joint=16)
    frames = _frames(model, 2, 0)
    ran = _run(model, frames, CHIPS[name])
    program = ran.compiled.program
    image = write_inputs(program, ran.compiled.image, {**frames, **model.zero_state()})
    caught = []
    for index, entry in enumerate(program.instructions):
        if entry.mnemonic != "fence":
            continue
        mutant = _without(program, index)
        verdicts = check_program(mutant, CHIPS[name], image)
        caught.append(any(verdict.findings or verdict.unproved for verdict in verdicts))
        if not caught[-1]:
            again = execute(mutant, image, CHIPS[name])
            assert not check_races(mutant, again.trace)
            for output, array in again.outputs.items():
                assert array.tobytes() == ran.execution.outputs[output].tobytes()
    # Where the region begins, and where its second loop may be left; at its end everything is over
    # on both ways.
    assert len(caught) == 7
    assert caught[0]
    assert caught[3]
    assert not caught[-1]


# ------------------------------------------------------------------------------- bad input


def _rebuilt(model: Transducer, *, inputs: Mapping[str, str] | None = None, **attributes) -> Graph:
    """The same graph with another node: inputs renamed, attributes changed or (None) gone."""
    (node,) = model.graph.nodes
    names = tuple((inputs or {}).get(name, name) for name in node.inputs)
    changed = {**node.attributes, **attributes}
    kept = {name: value for name, value in changed.items() if value is not None}
    extra = {"small": np.zeros((3, 4), np.float32), "short": np.zeros(3, np.float32)}
    constants = {**model.graph.initializers, **extra}
    return build_graph(
        "t",
        model.graph.inputs,
        constants,
        [Node(node.name, node.op, names, node.outputs, kept)],
        model.graph.outputs,
        "test",
    )


@pytest.mark.parametrize(
    ("inputs", "attributes", "sentence"),
    [
        ({}, {"predict": None}, "predict is missing; it has to be a graph"),
        ({}, {"blank": 5}, "blank is 5; there are 5 symbols"),
        ({}, {"blank": -1}, "blank is -1; a number from 0 is needed"),
        ({}, {"max_symbols": 0}, "max_symbols is 0; at least 1 is needed"),
        ({}, {"activation": "gelu"}, "activation is gelu; only relu or tanh is supported"),
        (
            {},
            {"symbols_per_frame": 9.0},
            "symbols_per_frame is 9.0; a number from 0 to max_symbols is needed",
        ),
        (
            {"embedding": "small"},
            {},
            "embedding has shape [3, 4]; at least 4 rows are needed",
        ),
        ({"out_b": "short"}, {}, "bias has shape [3], not [5]"),
        ({"g": "started"}, {}, "g has shape [1, 1], not [1, 6]"),
        ({"h": "g"}, {}, "state 0 has shape [1, 6], not [1, 1, 5]"),
        (
            {"out_w": "small"},
            {},
            "frames have shape [3, 6], weight [3, 4]; [T, J] and [V, J] are needed",
        ),
        (
            {"lstm_r": "lstm_w"},
            {},
            (
                "the inputs behind the states are steps_shape, lstm_w, lstm_w, lstm_b, half_shape, "
                "half_w; the prediction network uses steps_shape, lstm_w, lstm_r, lstm_b, "
                "half_shape, half_w"
            ),
        ),
    ],
)
def test_bad_nodes_are_told_in_a_sentence(inputs, attributes, sentence: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        _rebuilt(transducer(0), inputs=inputs, **attributes)
    assert str(caught.value) == f"test: node decode (TransducerGreedy): {sentence}"


def test_a_prediction_network_of_another_width_is_told() -> None:
    model = transducer(0)
    predict = model.graph.nodes[0].attributes["predict"]
    assert isinstance(predict, Graph)
    narrow = replace(predict, outputs=("rows", "h1", "c1"), nodes=predict.nodes[:3])
    with pytest.raises(UnsupportedError) as caught:
        _rebuilt(model, inputs={}, predict=replace(narrow, nodes=predict.nodes))
    assert "graph predict has nodes of constants only, or that no output needs" in str(caught.value)
    (node,) = model.graph.nodes
    names = node.inputs[: -len(captured(predict))] + captured(narrow)
    with pytest.raises(UnsupportedError) as caught:
        build_graph(
            "t",
            model.graph.inputs,
            model.graph.initializers,
            [replace(node, inputs=names, attributes={**node.attributes, "predict": narrow})],
            model.graph.outputs,
            "test",
        )
    assert "predict gives shapes [[1, 5], [1, 1, 5], [1, 1, 5]], not [[1, 6], " in str(caught.value)


# ---------------------------------------------------------------------------- what it stands on


def test_graphs_differ_by_a_graph_among_their_attributes() -> None:
    model = transducer(0)
    predict = model.graph.nodes[0].attributes["predict"]
    assert isinstance(predict, Graph)
    assert same_graph(model.graph, transducer(0).graph)
    first = replace(predict.nodes[0], name="another")
    other = _rebuilt(model, predict=replace(predict, nodes=(first, *predict.nodes[1:])))
    assert not same_graph(model.graph, other)


def test_float_evaluation_decodes_too() -> None:
    model = transducer(3, blank_bias=1.0)
    frames = _frames(model, 1, 3)["f"][0]
    found = evaluate(model.graph, {"f": frames, **model.zero_state()})
    assert found["symbols"].shape == (3, 4)
    assert found["counts"].sum() == (found["symbols"] >= 0).sum()


def test_counts_of_a_run_take_the_place_of_estimates() -> None:
    model = transducer(2, frames=3, limit=3, blank_bias=0.5)
    seen = {}
    compile_graph(compress(model.graph), AZ1, Stream(2, None, False), STATE, "t", seen.__setitem__)
    lowering = seen["trim"]
    loops = [step for _, outer in lowering.steps for step in _loops(outer)]
    left = [loop for loop in loops if any(isinstance(one, Leave) for one in loop.body)]
    assert [(loop.count, loop.rounds) for loop in left] == [(1, 1.0), (3, 2.0)]
    passed = {left[0].number: Passed(2, 1, 1), left[1].number: Passed(9, 3, 2)}
    assert uncertain_weights(lowering, passed) == {"lstm_r": 2, "lstm_w": 2, "half_w": 2}
    exact = counted(lowering, passed, 2)
    loops = [step for _, outer in exact.steps for step in _loops(outer)]
    left = [loop for loop in loops if any(isinstance(one, Leave) for one in loop.body)]
    assert [loop.rounds for loop in left] == [1.0, 1.5]
    assert [one.stays for loop in left for one in loop.body if isinstance(one, Leave)] == [
        0.5, 1 / 3
    ]  # fmt: skip


def _loops(step):
    if isinstance(step, Loop):
        yield step
        for inner in step.body:
            yield from _loops(inner)


def test_passes_print_decisions() -> None:
    model = transducer(2, limit=3)
    seen = {}
    compile_graph(compress(model.graph), AZ1, Stream(1, None, False), STATE, "t", seen.__setitem__)
    steps = [str(row[-1]).strip() for row in pass_tables("lower", seen["lower"])[0].rows]
    assert "leave the loop if decode#symbol[0: 1 x 1] is 4; goes on in 50%" in steps
    assert "at most 3 times, about 2 (loop 4):" in steps
    items = [str(row[-1]).strip() for row in pass_tables("order", seen["order"])[0].rows]
    assert "scalar_read src decode#symbol[0: 1 x 1], to 1; leave the loop if it is 4" in items


@pytest.mark.slow
@pytest.mark.parametrize("name", CHIPS)
def test_no_bound_is_above_the_run(name: str) -> None:
    hardware = CHIPS[name]
    for seed, blank_bias in enumerate((-3.0, 0.5, 50.0)):
        model = transducer(
            seed, limit=3, features=24, hidden=12, embedding=12, joint=16, blank_bias=blank_bias
        )
        ran = _run(model, _frames(model, 3, seed), hardware)
        trace, program = ran.execution.trace, ran.compiled.program
        timing = replay(trace, program, hardware)
        compressed = ran.compiled.compressed
        lowering = necessary_steps(compressed, hardware)
        room = parameter_room_bytes(lowering, hardware)
        bounds, layers = engine_bounds(
            lowering,
            hardware,
            Stream(3, None, False),
            STATE,
            4 * place_parameters(lowering, room).values.size,
            array_cycles(trace, timing, ran.compiled, hardware),
            passed=passed_leaves(ran.compiled.leaves, program, trace),
            decided=decisions_of_frames(ran.compiled.leaves, program, trace),
        )
        assert max(asdict(bounds).values()) <= timing.cycles
        macs = measure(trace, timing, program, hardware).engine_busy_cycles
        assert layers["decode"].mac_cycles <= macs["mac"]
        assert layers["decode"].mac_cycles > 0


def test_what_needs_no_symbol_is_done_while_its_embedding_comes() -> None:
    program = _run(transducer(1), _frames(transducer(1), 2, 0)).compiled.program
    mnemonics = [entry.mnemonic for entry in program.instructions]
    gather = mnemonics.index("load_gather")
    part = mnemonics[gather : mnemonics.index("fence", gather)]
    product, quantizations = part.index("mac_matmul"), part.count("vector_quantize")
    # The state's product, behind its codes; those of the embedding are made behind both.
    assert part[:product].count("vector_quantize") == 1 < quantizations


def test_the_program_is_text_and_back() -> None:
    program = _run(transducer(1), _frames(transducer(1), 2, 0)).compiled.program
    assert assembly.parse(assembly.format(program)) == program


def test_what_may_not_run_has_written_nothing() -> None:
    """A pass that reads behind a region what only one way through it writes is wrong."""
    compressed = compress(transducer(0).graph)
    lowering = lower_graph(compressed)
    word = Access(lowering.buffer("word", "i32", 1), 0, 1, 1, 1, 1)
    maybe, then = (Access(lowering.buffer(n, "f32", 1), 0, 1, 1, 1, 1) for n in ("maybe", "then"))
    lowering.layer = "wrong"
    lowering.emit(Fill(word, 0))
    with lowering.loop(1):
        lowering.emit(Leave(word, 1))
        lowering.emit(Fill(maybe, 0))
    lowering.emit(Copy(then, maybe))
    with lowering.loop(4) as number:
        lowering.emit(Leave(word, 1))
        lowering.emit(Leave(word, 2))
        lowering.emit(Fill(replace(word, advance={number: 0}), 0))
        lowering.emit(Fill(replace(then, advance={number: 1}), 0))
    with pytest.raises(CompileError) as caught:
        check_pass("lower", lowering, {}, AZ1)
    problems = str(caught.value).splitlines()
    assert problems[0] == "after lower: layer wrong: Copy.src reads maybe before it is written"
    assert problems[1].endswith("may be left in 2 places; one is allowed")
    assert problems[2].startswith("after lower: layer wrong: then moves with loop ")


def test_types_of_the_results() -> None:
    graph = transducer(0, frames=7, limit=2).graph
    assert graph.types["symbols"] == TensorType("int32", (7, 2))
    assert graph.types["counts"] == TensorType("int32", (7,))
