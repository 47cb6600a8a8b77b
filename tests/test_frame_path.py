"""The least cycles of a frame: no order of its work, however it is cut, takes less."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim.compiler.frame_path import _Frame, _Node, _Ways
from azsim.compiler.step_cycles import product_cycles, vector_cycles
from azsim.ops.lowering import Access, Binary, Lowering, Matmul, Product, Quantize, Step, Unary
from azsim.ops.steps import reads, writes
from compiled import AZ1, graph_of, node
from graphs import compress

_COLS = 64
_CYCLES_OF_OUTPUT = 3.0
_BUFFERS = tuple("abcd")


def _lowering() -> Lowering:
    lowering = Lowering(compress(graph_of({"x": (1, 4)}, {}, [node("Relu", ["x"], ["y"])], ["y"])))
    for name in (*_BUFFERS, "late"):
        lowering.buffer(name, "f32", 2 * _COLS)
    for name in ("codes", "other"):
        lowering.buffer(name, "i8", _COLS * _COLS)
    for name in ("scale", "scales"):
        lowering.buffer(name, "f32", _COLS)
    return lowering


def _row(buffer: str, first: int = 0, cols: int = _COLS) -> Access:
    return Access(buffer, first, 1, cols, cols, 1)


def _product(target: Access) -> Product:
    other = Access("other", 0, target.cols, _COLS, _COLS, 1)
    scales = Access("scales", 0, 1, target.cols, 0, 1)
    return Product(target, _row("codes"), _row("scale", 0, 1), other, scales)


def _array_cycles(step: object) -> float:
    assert isinstance(step, Product)
    return _CYCLES_OF_OUTPUT * step.dst.cols


def _least(steps: list[Step], *results: Access) -> float:
    frame = _Frame(_lowering(), AZ1, _array_cycles)
    frame.run(steps)
    return frame.end(results)


def _chain(source: Access, target: Access, length: int) -> list[Step]:
    return [Unary("neg", target, source if number == 0 else target) for number in range(length)]


def test_what_is_read_by_the_longest_chain_may_be_computed_first() -> None:
    product = _product(_row("a"))
    array = product_cycles(product, _array_cycles(product), AZ1)
    through = AZ1.vector.pipeline_cycles + 1
    halves = [_row("a", 0, 32), _row("a", 32, 32)]
    results = [_row("b", 0, 32), _row("b", 32, 32)]
    steps = [product, *_chain(halves[0], results[0], 4), *_chain(halves[1], results[1], 1)]
    assert _least(steps, *results) == array + through
    # All of it is read by all of a chain.
    assert _least([product, *_chain(_row("a"), _row("b"), 4)], _row("b")) == array + 4 * through


@given(
    nodes=st.lists(
        st.tuples(st.sampled_from(["mac", "vector", None]), *[st.integers(0, 9)] * 3), max_size=7
    )
)
def test_work_of_an_engine_adds_up(nodes: list[tuple[str | None, int, int, int]]) -> None:
    """As nodes in plain Python have it, and never more than the best that can be said of any."""
    frame = _Frame(_lowering(), AZ1, _array_cycles)
    for engine, begin, work, _ in nodes:
        frame._append(_Node(engine, begin, begin, begin + work, work))
    ways = _Ways(np.arange(len(nodes)), np.array([way for *_, way in nodes], float))
    wanted = most = 0.0
    for engine in ("mac", "vector"):
        mine = [(begin, work, way) for other, begin, work, way in nodes if other == engine]
        mine.sort(key=lambda entry: (-entry[0], -entry[2]))
        done, shortest = 0, 99
        for begin, work, way in mine:
            done, shortest = done + work, min(shortest, way)
            wanted = max(wanted, begin + done + shortest)
        for count in range(1, len(mine) + 1):
            for some in itertools.combinations(mine, count):
                begins, works, lengths = zip(*some, strict=True)
                most = max(most, min(begins) + sum(works) + min(lengths))
    assert frame._after(ways) == wanted <= most


def test_a_dynamic_scale_takes_time_and_not_the_engine() -> None:
    """Whoever writes what is quantized may have found the largest magnitude, and one instruction
    may make the scales of many steps; but none is there before a pass over its peak."""
    static = Quantize(_row("codes"), _row("b"), _row("scale", 0, 1), static=True)
    dynamic = replace(static, static=False)
    assert vector_cycles(dynamic, _lowering(), AZ1) == vector_cycles(static, _lowering(), AZ1)
    alone = _least([static], _row("codes"))
    assert _least([dynamic], _row("codes")) == alone + AZ1.vector.pipeline_cycles + 1


def test_work_of_an_engine_adds_up_along_a_chain() -> None:
    chain = _chain(_row("a"), _row("b"), 5)
    work = vector_cycles(chain[0], _lowering(), AZ1)
    assert work > AZ1.vector.pipeline_cycles + 1
    quantized = [*chain, Quantize(_row("codes"), _row("b"), _row("scale", 0, 1), static=False)]
    product = _product(_row("late"))
    found = _least([*quantized, product], _row("late"))
    # Before the scale is known, the chain is over: as one engine has done it, not as it flows.
    assert found > 5 * work + product_cycles(product, _array_cycles(product), AZ1)


_SPAN = st.tuples(st.integers(0, 3), st.integers(1, 4)).map(
    lambda span: (16 * span[0], 16 * min(span[1], 4 - span[0]))
)
_STEP = st.tuples(
    st.sampled_from(["neg", "add", "product", "quantize"]),
    st.sampled_from(_BUFFERS),
    st.sampled_from(_BUFFERS),
    st.sampled_from(_BUFFERS),
    _SPAN,
)


def _step(drawn: tuple[str, str, str, str, tuple[int, int]]) -> Step:
    kind, target, source, other, (first, cols) = drawn
    window = _row(target, first, cols)
    if kind == "product":
        return _product(window)
    if kind == "quantize":
        return Quantize(_row("codes"), _row(source), _row("scale", 0, 1), static=False)
    if kind == "add":
        return Binary("add", window, _row(source, first, cols), _row(other, first, cols))
    return Unary("neg", window, _row(source, first, cols))


def _pieces(step: Step, cuts: random.Random) -> list[Step]:
    """A step as one instruction, or cut at a column."""
    if isinstance(step, Quantize) or cuts.random() < 0.4:
        return [step]
    assert isinstance(step, Unary | Binary | Product)
    at = cuts.randint(1, step.dst.cols - 1)
    parts = []
    for first, cols in ((0, at), (at, step.dst.cols - at)):
        window = replace(step.dst, offset=step.dst.offset + first, cols=cols)
        if isinstance(step, Product):
            parts.append(_product(window))
        elif isinstance(step, Unary):
            source = replace(step.src, offset=step.src.offset + first, cols=cols)
            parts.append(replace(step, dst=window, src=source))
        else:
            left, right = (
                replace(one, offset=one.offset + first, cols=cols)
                for one in (step.left, step.right)
            )
            parts.append(replace(step, dst=window, left=left, right=right))
    return parts


def _carried_out(steps: list[Step], seed: int) -> float:
    """Cycles of steps that are cut somewhere and begin in some order that is right."""
    cuts, lowering = random.Random(seed), _lowering()
    pieces = [piece for step in steps for piece in _pieces(step, cuts)]
    touched: dict[tuple[str, int], list[tuple[int, bool]]] = {}
    before: list[set[int]] = []
    for number, piece in enumerate(pieces):
        mine: set[int] = set()
        for windows, is_write in ((reads(piece), False), (writes(piece), True)):
            for window in windows:
                rows, cols = np.arange(window.rows)[:, None], np.arange(window.cols)
                elements = window.offset + rows * window.row_stride + cols * window.col_stride
                for element in np.unique(elements).tolist():
                    others = touched.setdefault((window.buffer, element), [])
                    mine |= {other for other, wrote in others if wrote or is_write}
                    others.append((number, is_write))
        before.append(mine - {number})
    ends: dict[int, float] = {}
    free = {"mac": 0.0, "vector": 0.0}
    known: dict[int, float] = {}  # when a scale is
    while len(ends) < len(pieces):
        ready = [n for n in range(len(pieces)) if n not in ends and before[n] <= ends.keys()]
        number = cuts.choice(ready)
        piece = pieces[number]
        at = {n: max((ends[other] for other in before[n]), default=0.0) for n in ready}
        if isinstance(piece, Quantize) and number not in known:
            # From peaks that writers have found, and for some others that can have theirs by then.
            others = [n for n in ready if isinstance(pieces[n], Quantize) and n not in known]
            together = {number, *(n for n in others if cuts.random() < 0.5)}
            begin = max(free["vector"], *(at[n] for n in together), 0.0)
            free["vector"] = begin + AZ1.vector.pipeline_cycles + 1
            known |= dict.fromkeys(together, free["vector"])
            continue
        if isinstance(piece, Product):
            engine, cycles = "mac", product_cycles(piece, _array_cycles(piece), AZ1)
        else:
            engine, cycles = "vector", float(vector_cycles(piece, lowering, AZ1))
        begin = max(free[engine], at[number], known.get(number, 0.0))
        ends[number] = free[engine] = begin + cycles
    return max(ends.values(), default=0.0)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(_STEP, min_size=1, max_size=9), st.integers(0, 1000))
def test_no_order_and_no_cut_is_shorter(
    drawn: list[tuple[str, str, str, str, tuple[int, int]]], seed: int
) -> None:
    steps = [_step(entry) for entry in drawn]
    least = _least(steps, *(_row(name) for name in _BUFFERS))
    for number in range(5):
        assert least <= _carried_out(steps, seed + number) + 1e-6


def test_scales_that_need_one_another_are_found_one_by_one() -> None:
    """Others may be found together, in the time of one."""

    def quantized(name: str) -> Quantize:
        return Quantize(_row("codes"), _row(name), _row("scale", 0, 1), static=False)

    search = AZ1.vector.pipeline_cycles + 1
    busy = [Unary("neg", _row("d"), _row("d"))] * 40
    product = _product(_row("b"))
    chained = [quantized("b"), product, quantized("b"), product, quantized("b")]
    alone = [quantized(name) for name in "abc"]
    for steps, searches in ((chained, 3), (alone, 1)):
        every = [*busy, *steps]
        work = sum(vector_cycles(step, _lowering(), AZ1) for step in every)
        assert _least(every, _row("codes"), _row("d")) == work + searches * search


def test_each_function_of_a_product_is_a_drain() -> None:
    mac, vector = AZ1.mac, AZ1.vector
    window, one = Access("y", 0, 1, 80, 0, 1), Access("s", 0, 1, 1, 0, 1)
    functions = ((0, 16, "tanh"), (16, 48, "sigmoid"), (48, 64, "tanh"))
    step = Matmul("w", window, window, one, functions=functions)
    pipelines = 1 + 3  # of the product; of tanh, sigmoid and none
    groups = (64 * vector.table_cycles + 16) / mac.drain_lanes
    assert product_cycles(step, 100.0, AZ1) == pipelines * mac.pipeline_cycles + 100 + groups
    codes = replace(step, functions=(), code_scale=one)
    groups = 80 * vector.divide_cycles / mac.drain_lanes
    assert product_cycles(codes, 100.0, AZ1) == 2 * mac.pipeline_cycles + 100 + groups


@pytest.mark.parametrize("length", [1, 3])
def test_one_instruction_after_another_is_as_short_as_it_gets(length: int) -> None:
    steps = _chain(_row("a"), _row("b"), length)
    assert _least(steps, _row("b")) == length * vector_cycles(steps[0], _lowering(), AZ1)
