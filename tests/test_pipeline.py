"""The speech model through the whole machine; see also the tests of each stage."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from azsim import pipeline
from azsim.errors import AzsimError, CodecError
from azsim.evaluate import evaluate
from azsim.frontend.workload import Workload, load_workload
from azsim.frontend.workload_inputs import onnx_path
from azsim.hardware import load_hardware, preset_names
from azsim.hardware.description import Hardware
from azsim.isa.program import DramImage
from azsim.sim.execute import execute, write_inputs
from azsim.sim.result import RunResult
from azsim.sim.timing import replay
from graphs import known_frame

pytestmark = pytest.mark.fetch

SCHEMES = {"8 bit dense": (8, 0.0), "8 bit 50 %": (8, 0.5), "4 bit 50 %": (4, 0.5)}
VARIANTS = {
    "az1": (),
    "many small tiles": ("weight_sram.bytes=20_000", "mac.lanes=7", "mac.accumulators=100"),
    "odd sizes": ("weight_sram.bytes=100_001", "activation_sram.bytes=16_001", "mac.lanes=48"),
    "outer": ("mac.dataflow=outer", "mac.zero_skip=both", "decoder.lanes=3", "vector.lanes=1"),
    "raw only": ("decoder.codecs=[raw]", "mac.accumulators=2000", "weight_sram.bytes=70_000"),
}
PALETTE = "{name: bitmap, palette: true}"
_FEW_CODECS = 2


def workload(
    bits: int = 8, sparsity: float = 0.5, codec: str = "bitmap", name: str = "vad_silero",
    *more: str,
) -> Workload:  # fmt: skip
    default = "compression.default."
    return load_workload(
        name,
        [
            f"{default}weights.bits={bits}", f"{default}prune.sparsity={sparsity}",
            f"{default}codec={codec}", *more,
        ],
    )  # fmt: skip


@functools.cache
def result(
    preset: str, bits: int = 8, sparsity: float = 0.5, codec: str = "bitmap", verify: bool = False
) -> RunResult:
    return pipeline.run(
        workload(bits, sparsity, codec), load_hardware(preset), verify=verify, timeline=False
    )


def codecs_of(preset: str) -> Iterator[str]:
    """Every codec that a preset decodes, with each of its forms."""
    for name in load_hardware(preset).decoder.codecs:
        yield name
        if name == "bitmap":
            yield PALETTE


def _cases() -> Iterator[object]:
    """Every preset with each codec that it decodes; where those are many, schemes take turns.

    All but the last codec of each preset are slow.
    """
    turns = itertools.cycle(SCHEMES)
    for preset in preset_names():
        codecs = list(codecs_of(preset))
        for number, codec in enumerate(codecs, 1):
            for scheme in SCHEMES if len(codecs) <= _FEW_CODECS else [next(turns)]:
                marks = [pytest.mark.slow] if number < len(codecs) else []
                yield pytest.param(preset, scheme, codec, marks=marks)


# ------------------------------------------------------------------------------------- bits


@functools.cache
def hashes(scheme: str) -> dict[str, str]:
    """What the outputs of a dense chip that takes raw codes hash to."""
    found = result("dense_npu", *SCHEMES[scheme], "raw")
    return {name: check.sha256 for name, check in found.output_checks.items()}


@pytest.mark.parametrize(("preset", "scheme", "codec"), list(_cases()))
def test_every_preset_is_bit_exact(preset: str, scheme: str, codec: str) -> None:
    found = result(preset, *SCHEMES[scheme], codec, verify=True)
    comparison = found.comparison
    assert comparison is not None
    assert comparison.first_difference is None
    assert comparison.bit_exact
    assert len(comparison.compared) >= 20
    assert {"speech_probs", "hn", "cn"} <= set(comparison.compared)
    assert set(comparison.fused).isdisjoint(comparison.compared)
    sha256 = {name: check.sha256 for name, check in found.output_checks.items()}
    assert sha256 == hashes(scheme)
    statistics = found.statistics
    assert statistics.cycles >= found.bounds.bound_cycles
    assert statistics.cycles >= found.bounds.critical_path_cycles
    for engine, reasons in statistics.stall_cycles.items():
        assert statistics.engine_busy_cycles[engine] + sum(reasons.values()) == statistics.cycles
    assert sum(layer.cycles for layer in statistics.layers) == statistics.cycles


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_five_hardware_variants_give_the_same_bits(scheme: str) -> None:
    seen: dict[str, set[str]] = {}
    programs = set()
    for overrides in VARIANTS.values():
        found = pipeline.run(
            workload(*SCHEMES[scheme]), load_hardware("az1", overrides), timeline=False
        )
        programs.add(found.provenance["program_instructions"])
        for name, check in found.output_checks.items():
            seen.setdefault(name, set()).add(check.sha256)
    assert len(VARIANTS) == 5
    assert len(programs) > 2  # they are not all the same program
    assert {name: len(hashes) for name, hashes in seen.items()} == dict.fromkeys(seen, 1)
    assert len(seen) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "scheme", "codec"),
    [
        ("az1", "8 bit 50 %", "bitmap"),
        ("az1_lite", "4 bit 50 %", PALETTE),
        ("az2", "8 bit dense", "zero_run"),
        ("dense_npu", "4 bit 50 %", "raw"),
    ],
)
def test_a_minute_of_speech_is_bit_exact(preset: str, scheme: str, codec: str) -> None:
    bits, sparsity = SCHEMES[scheme]
    found = pipeline.run(
        workload(bits, sparsity, codec, "vad_silero_60s"), load_hardware(preset), verify=True,
        timeline=False,
    )  # fmt: skip
    assert found.comparison is not None
    assert found.comparison.first_difference is None
    assert found.comparison.bit_exact
    assert found.outputs["speech_probs"].shape[0] == 1875


def _compiled(
    given: Workload, hardware: Hardware
) -> tuple[pipeline.Compiled, DramImage, pipeline.Prepared]:
    prepared = pipeline.prepare(given)
    compiled = pipeline.compile_workload(given, hardware)
    inputs = {**prepared.frames, **prepared.initial_state}
    return compiled, write_inputs(compiled.program, compiled.image, inputs), prepared


@pytest.mark.parametrize("codec", ["raw", "bitmap", "zero_run"])
def test_a_flipped_bit_in_the_image_shows(codec: str) -> None:
    hardware = load_hardware("az1")
    compiled, image, _ = _compiled(workload(codec=codec), hardware)
    expected = execute(compiled.program, image, hardware).outputs
    blocks = [entry for entry in compiled.program.regions if entry.name.endswith("#block")]
    assert len(blocks) >= 8
    rng = np.random.default_rng(0)
    shown = 0
    for block in blocks:
        data = image.data.copy()
        at = block.start_bytes + int(rng.integers(block.size_bytes))
        data[at] ^= 1 << int(rng.integers(8))
        try:
            outputs = execute(compiled.program, DramImage(data), hardware).outputs
        except CodecError as error:
            shown += f"block at DRAM {block.start_bytes:#x}: " in str(error)
        else:
            shown += any(outputs[name].tobytes() != expected[name].tobytes() for name in outputs)
    assert shown == len(blocks)


def test_parameters_come_from_the_image_as_well() -> None:
    hardware = load_hardware("az1")
    compiled, image, _ = _compiled(workload(), hardware)
    expected = execute(compiled.program, image, hardware).outputs
    (scales,) = [
        entry for entry in compiled.program.regions
        if entry.space == "dram" and entry.name.startswith("(parameters)")
    ]  # fmt: skip
    data = image.data.copy()
    data[scales.start_bytes + 2] ^= 0x40  # a mantissa bit of the first scale
    try:
        outputs = execute(compiled.program, DramImage(data), hardware).outputs
    except AzsimError:
        return
    assert any(outputs[name].tobytes() != expected[name].tobytes() for name in outputs)


# ---------------------------------------------------------------------------------- accuracy


def test_the_float_model_gives_the_known_value() -> None:
    graph = pipeline.load_graph(workload())
    zeros = {name: np.zeros(graph.inputs[name].shape, np.float32) for name in ("h", "c")}
    values = evaluate(graph, {"input": known_frame(), **zeros})
    assert values["speech_probs"].item() == pytest.approx(0.0071278, abs=1e-6)


@functools.cache
def _minute() -> tuple[np.ndarray, np.ndarray]:
    """Speech probabilities of the 60 s recording: ours at 8 bits dense, and onnxruntime's."""
    onnxruntime = pytest.importorskip("onnxruntime")
    given = workload(8, 0.0, "bitmap", "vad_silero_60s")
    found = pipeline.run(given, load_hardware("az1"), timeline=False)
    frames = pipeline.prepare(given).frames["input"].reshape(-1, 576)
    session = onnxruntime.InferenceSession(str(onnx_path(given)))
    zeros = np.zeros((1, 1, 128), np.float32)
    wanted = session.run(None, {"input": frames, "h": zeros, "c": zeros})[0]
    return found.outputs["speech_probs"].reshape(-1), np.asarray(wanted).reshape(-1)


def test_eight_bit_weights_keep_the_accuracy_on_a_minute_of_speech() -> None:
    found, wanted = _minute()
    assert found.shape == wanted.shape == (1875,)
    error = np.abs(found.astype(np.float64) - wanted)
    assert error.mean() <= 0.005
    assert np.percentile(error, 99) <= 0.08
    assert ((found > 0.5) == (wanted > 0.5)).mean() >= 0.995


# ------------------------------------------------------------------------------ what zeros save


def test_zeros_save_traffic_and_mac_cycles_on_az1() -> None:
    dense, sparse = (result("az1", 8, share, verify=True) for share in (0.0, 0.5))
    assert sparse.statistics.dram_read_bytes < 0.8 * dense.statistics.dram_read_bytes
    mac = [r.statistics.engine_busy_cycles["mac"] for r in (sparse, dense)]
    assert mac[0] < 0.82 * mac[1]
    assert sparse.statistics.cycles < dense.statistics.cycles
    assert sparse.statistics.macs == dense.statistics.macs
    assert dense.statistics.macs_executed > 1.5 * sparse.statistics.macs_executed
    bounds = {name: bounds.bound_by for name, bounds in sparse.layer_bounds.items()}
    assert bounds["/stft/Conv"] == "mac"
    assert bounds["(startup)"] == "dram"
    assert set(bounds.values()) <= {"dram", "decoder", "mac", "vector"}


def test_zeros_save_nothing_on_dense_npu() -> None:
    dense, sparse = (result("dense_npu", 8, share, "raw", verify=True) for share in (0.0, 0.5))
    assert sparse.statistics.cycles == dense.statistics.cycles
    assert sparse.statistics.engine_busy_cycles == dense.statistics.engine_busy_cycles
    assert sparse.statistics.dram_read_bytes == dense.statistics.dram_read_bytes
    assert sparse.statistics.macs_executed == sparse.statistics.macs


def test_a_chip_without_the_codec_says_that_it_holds_raw() -> None:
    found = pipeline.run(workload(), load_hardware("dense_npu"), timeline=False)
    assert found.notes == (
        "8 tensors ask for bitmap, which this chip cannot decode; its image holds raw",
    )
    assert {entry.codec for entry in found.weights} == {"raw"}


# --------------------------------------------------------------------- one execution, many clocks


def test_one_trace_is_timed_under_many_settings() -> None:
    hardware = load_hardware("az1")
    compiled, image, _ = _compiled(workload(), hardware)
    execution = execute(compiled.program, image, hardware)
    base = replay(execution.trace, compiled.program, hardware).end_cycles
    slower = {
        "mac.lanes=16", "mac.macs_per_lane=1", "vector.lanes=2", "dram.bytes_per_s=200_000_000",
        "sequencer.queue_entries=1", "mac.queue_depth=1",
    }  # fmt: skip
    for override in slower:
        changed = load_hardware("az1", [override])
        found = replay(execution.trace, compiled.program, changed).end_cycles
        assert found >= base, override
        # The same as compiling and executing for that chip: no timing key changes the program.
        again, other_image, _ = _compiled(workload(), changed)
        if again.program == compiled.program:
            trace = execute(again.program, other_image, changed).trace
            assert replay(trace, again.program, changed).end_cycles == found


def test_a_run_is_a_function_of_its_inputs() -> None:
    one, two = (
        pipeline.run(workload(), load_hardware("az1"), timeline=False) for _ in range(2)
    )  # fmt: skip
    assert one.summary == two.summary
    assert one.provenance["dram_image_sha256"] == two.provenance["dram_image_sha256"]


def test_paced_and_asap_do_the_same_work() -> None:
    paced = result("az1", verify=True)
    asap = pipeline.run(
        load_workload("vad_silero", ["stream.arrival=asap"]), load_hardware("az1"), timeline=False
    )
    assert asap.statistics.idle_cycles == 0
    assert paced.statistics.idle_cycles > 0
    assert asap.statistics.macs_executed == paced.statistics.macs_executed
    assert asap.statistics.dram_read_bytes == paced.statistics.dram_read_bytes
    assert asap.statistics.cycles <= paced.statistics.cycles
    for name, array in paced.outputs.items():
        assert asap.outputs[name].tobytes() == array.tobytes()
    assert paced.statistics.deadline_misses == 0
    assert paced.statistics.real_time_factor is not None
    assert paced.statistics.real_time_factor < 0.01


def test_timeline_holds_every_engine_instruction() -> None:
    found = pipeline.run(workload(), load_hardware("az1"))
    events = found.events
    assert events is not None
    assert (events.end >= events.start).all()
    assert len(events.engine) == len(events.start) == len(events.mnemonic_of)
    assert set(events.engine.tolist()) == set(range(len(events.engines)))
    moved = found.statistics.dram_read_bytes + found.statistics.dram_write_bytes
    assert events.dram_bytes.sum() == moved
    assert replace(found, events=None).summary == found.summary
