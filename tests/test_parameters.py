"""Scales and biases: in weight SRAM, or in activation SRAM where weights need the room."""

from __future__ import annotations

import numpy as np
import pytest

from azsim.compiler.compile import necessary_steps
from azsim.compiler.parameters import PARAMETERS, parameter_room_bytes, place_parameters
from azsim.evaluate import evaluate_stream
from azsim.frontend.workload import load_workload
from azsim.hardware import load_hardware
from azsim.ir import CompressedGraph, Node
from azsim.ops.build import build_graph
from azsim.pipeline import compile_workload, prepare, run
from compiled import chip, execute_graph
from graphs import compress, type_of

INPUTS, OUTPUTS, LAYERS = 64, 512, 3


def layers() -> CompressedGraph:
    """Three products of 32 KiB, each with 2 KiB of scales and as many of biases."""
    rng = np.random.default_rng(0)

    def random(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    constants = {f"w{n}": random(OUTPUTS, INPUTS) for n in range(LAYERS)}
    constants |= {f"b{n}": random(OUTPUTS) for n in range(LAYERS)}
    nodes = [
        Node(f"gemm{n}", "Gemm", ("x", f"w{n}", f"b{n}"), (f"y{n}",), {"transB": 1})
        for n in range(LAYERS)
    ]
    outputs = [f"y{n}" for n in range(LAYERS)]
    graph = build_graph("layers", {"x": type_of(1, INPUTS)}, constants, nodes, outputs, "test")
    return compress(graph)


WEIGHTS_BYTES, PARAMETER_BYTES = LAYERS * INPUTS * OUTPUTS, 4 * 2 * LAYERS * OUTPUTS


@pytest.mark.parametrize(
    ("weight_bytes", "activation_bytes", "least", "most"),
    [
        # All that is needed is there.
        (WEIGHTS_BYTES + 2 * PARAMETER_BYTES, 65_536, PARAMETER_BYTES, PARAMETER_BYTES),
        # As many leave as weights need.
        (WEIGHTS_BYTES + PARAMETER_BYTES // 2, 65_536, 1, PARAMETER_BYTES // 2),
        # Weights do not fit in any case: every byte helps.
        (WEIGHTS_BYTES // 2, 65_536, 0, 0),
        # Nothing to spare.
        (WEIGHTS_BYTES, 6_000, PARAMETER_BYTES, PARAMETER_BYTES),
        # As many leave as there is surely room for.
        (WEIGHTS_BYTES // 2, 12_288, 4096, PARAMETER_BYTES - 2048),
    ],
)
def test_parameters_leave_where_weights_need_the_room(
    weight_bytes: int, activation_bytes: int, least: int, most: int
) -> None:
    hardware = chip(weight_sram__bytes=weight_bytes, activation_sram__bytes=activation_bytes)
    lowering = necessary_steps(layers(), hardware)
    placed = place_parameters(lowering, parameter_room_bytes(lowering, hardware))
    assert least <= 4 * placed.values.size <= most


@pytest.mark.parametrize("spare_bytes", [PARAMETER_BYTES + 4096, PARAMETER_BYTES // 2, 2048])
def test_no_bit_depends_on_where_parameters_live(spare_bytes: int) -> None:
    compressed = layers()
    frames = {"x": np.random.default_rng(1).standard_normal((4, 1, INPUTS)).astype(np.float32)}
    hardware = chip(weight_sram__bytes=WEIGHTS_BYTES + spare_bytes)
    ran = execute_graph(compressed, hardware, frames)
    for name, array in evaluate_stream(compressed.graph, frames, {}, {}, compressed)[0].items():
        if name.startswith("y"):
            assert ran.execution.outputs[name].tobytes() == array.tobytes()
    assert not ran.compiled.plan.slot_bytes  # every weight stays
    storages = ran.compiled.schedule.storages
    moved = [name for name, s in storages.items() if name.endswith("#scales")]
    assert bool(moved) == (spare_bytes < PARAMETER_BYTES)
    assert (PARAMETERS in storages) == (spare_bytes >= PARAMETER_BYTES // 2)


@pytest.mark.slow
def test_a_recogniser_that_fits_so_reads_every_weight_once() -> None:
    """514 kB of weights, 24 kB of scales and biases, 524 kB of SRAM."""
    workload = load_workload("workloads/speech_commands_word.yaml", ["input.first=1"])
    hardware = load_hardware("az1")
    lowering = necessary_steps(prepare(workload).compressed, hardware)
    whole = 4 * place_parameters(lowering).values.size
    assert parameter_room_bytes(lowering, hardware) < whole
    weights = compile_workload(workload, hardware).weights
    blocks = sum(weight.encoded_bytes for weight in weights)
    read = run(workload, hardware, timeline=False).summary["weight_read_bytes"]
    assert isinstance(read, int)
    assert blocks <= read <= blocks + 64 * sum(weight.tiles for weight in weights)
