"""Graphs compiled and executed for tests, and chips that force the compiler's rarer ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from azsim.compiler.compile import Compiled, compile_graph
from azsim.hardware import load_hardware
from azsim.hardware.description import Hardware
from azsim.ir import Attribute, CodecChoice, CompressedGraph, Graph, Node, TensorType
from azsim.isa.program import Stream
from azsim.ops.build import build_graph
from azsim.sim.execute import Execution, execute, write_inputs
from graphs import type_of

AZ1 = load_hardware("az1")


def chip(**changes: int | float | str | tuple[str, ...]) -> Hardware:
    """az1 with other values; ``mac__lanes=4`` changes ``mac.lanes``."""
    hardware = AZ1
    for name, value in changes.items():
        part, _, key = name.partition("__")
        if key:
            hardware = replace(hardware, **{part: replace(getattr(hardware, part), **{key: value})})
        else:
            hardware = replace(hardware, **{part: value})
    return hardware


VARIANTS = {
    "az1": AZ1,
    "few accumulators": chip(mac__accumulators=64, mac__lanes=3, mac__queue_depth=1),
    "tiny weight SRAM": chip(weight_sram__bytes=2048, mac__lanes=8, dram__burst_bytes=32),
    "skips both": chip(
        mac__zero_skip="both", mac__dataflow="outer", mac__accumulators=256, mac__lanes=16,
        decoder__lanes=3, sequencer__queue_entries=1,
    ),
    "raw only": chip(
        decoder__codecs=("raw",), mac__zero_skip="none", mac__window=4, vector__lanes=1,
        weight_sram__bytes=4096,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Ran:
    """A graph that was compiled and executed."""

    compiled: Compiled
    execution: Execution


def execute_graph(
    compressed: CompressedGraph,
    hardware: Hardware,
    frames: Mapping[str, np.ndarray],
    state: Mapping[str, str] | None = None,
    initial: Mapping[str, np.ndarray] | None = None,
    *,
    taps: bool = False,
    period_s: float | None = None,
) -> Ran:
    """Compile for as many frames as there are and execute; with a period they arrive one by one."""
    count = max((len(array) for array in frames.values()), default=1)
    compiled = compile_graph(
        compressed,
        hardware,
        Stream(count, period_s, period_s is not None),
        state or {},
        compressed.graph.name,
    )
    inputs = {**frames, **(initial or {})}
    image = write_inputs(compiled.program, compiled.image, inputs)
    return Ran(compiled, execute(compiled.program, image, hardware, taps=taps))


def frames_for(
    graph: Graph, count: int, seed: int = 0, state: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Random frames for every input that is not state."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.standard_normal((count, *found.shape)).astype(np.float32)
        for name, found in graph.inputs.items()
        if name not in state
    }


def node(
    op: str, inputs: Sequence[str], outputs: str | Sequence[str], **attributes: Attribute
) -> Node:
    """A node named after its first output."""
    outputs = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    return Node(f"{op}_{outputs[0]}", op, tuple(inputs), outputs, attributes)


def graph_of(
    inputs: Mapping[str, Sequence[int]],
    initializers: Mapping[str, np.ndarray],
    nodes: Sequence[Node],
    outputs: Sequence[str],
) -> Graph:
    """Build a graph of float32 inputs."""
    types: dict[str, TensorType] = {name: type_of(*shape) for name, shape in inputs.items()}
    return build_graph("g", types, dict(initializers), list(nodes), tuple(outputs), "test")


def mixed_graph(steps: int = 3, *, seed: int = 0) -> Graph:
    """Conv, Relu, LSTM over several steps, Gemm, elementwise, with state: a bit of everything."""
    rng = np.random.default_rng(seed)

    def floats(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    hidden, channels = 6, 5
    initializers = {
        "w1": floats(channels, 2, 3),
        "b1": floats(channels),
        "w": floats(1, 4 * hidden, channels),
        "r": floats(1, 4 * hidden, hidden),
        "b": floats(1, 8 * hidden),
        "wf": floats(4, hidden),
        "bf": floats(4),
        "axis": np.array([0], np.int64),
    }
    nodes = [
        node("Conv", ["x", "w1", "b1"], "conv", pads=(1, 1), strides=(1,)),
        node("Relu", ["conv"], "relu"),
        node("Transpose", ["relu"], "rows", perm=(2, 0, 1)),
        node("LSTM", ["rows", "w", "r", "b", "", "h", "c"], ("y", "hn", "cn"), hidden_size=hidden),
        node("Squeeze", ["hn", "axis"], "last"),
        node("Gemm", ["last", "wf", "bf"], "dense", transB=1),
        node("Sigmoid", ["dense"], "probability"),
    ]
    shapes = {"x": (1, 2, steps), "h": (1, 1, hidden), "c": (1, 1, hidden)}
    return graph_of(shapes, initializers, nodes, ("probability", "hn", "cn", "y"))


MIXED_STATE = {"h": "hn", "c": "cn"}


def with_codec(compressed: CompressedGraph, name: str, **parameters: int | bool) -> CompressedGraph:
    """The same graph with all weights under another codec."""
    codec = CodecChoice(name, parameters)
    return CompressedGraph(
        compressed.graph,
        {key: replace(weight, codec=codec) for key, weight in compressed.weights.items()},
    )


def pruned(compressed: CompressedGraph, share: float, seed: int = 0) -> CompressedGraph:
    """The same graph with a share of all codes set to zero."""
    rng = np.random.default_rng(seed)
    return CompressedGraph(
        compressed.graph,
        {
            key: replace(
                weight, codes=np.where(rng.random(weight.codes.shape) < share, 0, weight.codes)
                .astype(np.int8),
            )
            for key, weight in compressed.weights.items()
        },
    )  # fmt: skip
