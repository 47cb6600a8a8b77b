"""Estimates of products on an array that skips zero activations: how many are zero, and where."""

from __future__ import annotations

import numpy as np

from azsim.compiler.compile import compile_graph
from azsim.compiler.estimate import Estimator, weights_behind_relu
from azsim.compiler.lower import lower
from azsim.compiler.schedule import walk
from azsim.ir import Graph
from azsim.isa.program import Stream
from compiled import chip, graph_of, node
from graphs import compress

SKIPS_BOTH = chip(mac__zero_skip="both", mac__dataflow="outer", mac__lanes=16)


def mixed() -> Graph:
    """Products of an input, of a sigmoid, of a relu and of both."""
    weights = np.random.default_rng(0).standard_normal((4, 64, 64)).astype(np.float32)
    nodes = [
        node("MatMul", ["x", "of_input"], "a"),
        node("Sigmoid", ["a"], "s"),
        node("MatMul", ["s", "of_both"], "b"),
        node("Relu", ["b"], "r"),
        node("MatMul", ["r", "of_relu"], "c"),
        node("Relu", ["c"], "q"),
        node("MatMul", ["q", "of_both"], "d"),
        node("Add", ["d", "b"], "sum"),
        node("MatMul", ["sum", "of_sum"], "y"),
    ]
    names = ("of_input", "of_both", "of_relu", "of_sum")
    return graph_of({"x": (1, 64)}, dict(zip(names, weights, strict=True)), nodes, ("y",))


def test_weights_behind_a_relu_are_found_through_quantization() -> None:
    compressed = compress(mixed())
    steps = [step for _, step in lower(compressed).steps]
    assert weights_behind_relu(steps) == {"of_relu"}


def test_what_a_relu_has_made_is_half_zero_and_the_rest_hardly() -> None:
    compressed = compress(mixed())
    compiled = compile_graph(compressed, SKIPS_BOTH, Stream(1, None, False), {}, "g")
    estimator = Estimator(compiled.compressed, compiled.plan, {}, SKIPS_BOTH, {"of_relu"})
    cycles: dict[str, int] = {}
    for item in walk(compiled.schedule.body):
        if item.mnemonic == "mac_matmul":
            name = dict(item.windows)["src2"].buffer.partition("[")[0]
            storages = compiled.schedule.storages
            cycles[name] = cycles.get(name, 0) + estimator.cycles(item, storages)
    dense, half = cycles["of_sum"], cycles["of_relu"]
    assert 0.4 * dense < half < 0.65 * dense
