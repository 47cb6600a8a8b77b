"""What the study bound_gap measures of a workload on a chip: bounds, waits and gaps."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from typing import TYPE_CHECKING

from azsim.studies._write import Figure

if TYPE_CHECKING:
    import numpy as np

    from azsim.compiler.bounds import EngineBounds
    from azsim.compiler.compile import Compiled
    from azsim.hardware.description import Hardware
    from azsim.machine.trace import Trace
    from azsim.sim.statistics import Statistics
    from azsim.sim.timing import Timing
    from azsim.stages.prepare import Prepared

__all__ = [
    "CHIPS",
    "WORKLOADS",
    "Gap",
    "bound_by",
    "gaps_from_csv",
    "gaps_to_csv",
    "measure_gap",
    "run_key",
]

WORKLOADS = ("vad_silero", "vad_silero_60s", "eie_layers_small", "eie_layers")
CHIPS = ("az1", "az2")
BOUNDED = ("dram", "decoder", "mac", "vector")
_INSTRUCTIONS_OF = {"dram": "weight", "decoder": "weight", "mac": "mac", "vector": "vector"}
_NO_REFRESH = {"refresh_interval_ns": 0, "refresh_ns": 0}
_IDEAL_DRAM = {
    "refreshes": _NO_REFRESH,
    "row_openings": {"row_miss_ns": 0},
    "both": {**_NO_REFRESH, "row_miss_ns": 0},
}
_MOST_GAPS = 10
_LEAST_GAP_CYCLES = 5


@dataclass(frozen=True)
class Gap:
    """A stretch in which the engine that binds stood still, in one frame.

    Attributes
    ----------
    workload, chip : str
    frame : int
        From 0.
    after, layer : str
        Layer of the engine's instruction before the gap, and of the one after it.
    cycles : int
    reason : str
        As in ``stall_cycles``: the larger of waiting for another engine and having no work.
    ended_mnemonic, ended_layer : str
        The other engines' instruction whose end came last before the gap's: of the engine that
        was waited for, or of any where there was no work.
    """

    workload: str
    chip: str
    frame: int
    after: str
    layer: str
    cycles: int
    reason: str
    ended_mnemonic: str
    ended_layer: str


def gaps_to_csv(gaps: Sequence[Gap]) -> str:
    """Return a table with a line for each gap."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(field.name for field in fields(Gap))
    writer.writerows(astuple(gap) for gap in gaps)
    return out.getvalue()


def gaps_from_csv(text: str) -> list[Gap]:
    """Read what `gaps_to_csv` wrote."""
    rows = list(csv.reader(io.StringIO(text)))[1:]
    return [
        Gap(workload, chip, int(frame), after, layer, int(cycles), *rest)
        for workload, chip, frame, after, layer, cycles, *rest in rows
    ]


def run_key(workload: str, chip: str) -> str:
    """Start of the names of a run's figures."""
    return f"{workload}.{chip}"


def bound_by(figures: Mapping[str, Figure], workload: str, chip: str) -> str:
    """Return the engine with the largest bound."""
    start = run_key(workload, chip)
    return max(BOUNDED, key=lambda engine: figures[f"{start}.bound.{engine}"].value)


def measure_gap(workload: str, chip: str) -> tuple[dict[str, Figure], list[Gap], Mapping[str, str]]:
    """Compile, execute and time a workload, and find where its cycles went.

    Returns
    -------
    figures : dict of str to Figure
    gaps : list of Gap
        The longest of one frame, longest first.
    files : mapping of str to str
        sha256 of every file that was read.
    """
    from azsim.compiler.compile import compile_graph
    from azsim.frontend.workload import load_workload
    from azsim.hardware import load_hardware
    from azsim.machine.engines.clock import ENGINES
    from azsim.pipeline import prepare
    from azsim.sim.execute import execute, write_inputs
    from azsim.sim.statistics import measure
    from azsim.sim.timing import replay

    hardware = load_hardware(chip)
    prepared = prepare(load_workload(workload))
    compiled = compile_graph(
        prepared.compressed, hardware, prepared.stream, prepared.state, workload
    )
    inputs = {**prepared.frames, **prepared.initial_state}
    image = write_inputs(compiled.program, compiled.image, inputs)
    trace = execute(compiled.program, image, hardware).trace
    timing = replay(trace, compiled.program, hardware)
    statistics = measure(trace, timing, compiled.program, hardware)
    found = _bounds(prepared, compiled, hardware, trace, timing, statistics)
    engine = max(BOUNDED, key=lambda name: found[f"bound.{name}"])
    found |= _where(engine, found[f"bound.{engine}"], trace, timing, statistics)
    for name, changes in _IDEAL_DRAM.items():
        easier = replace(hardware, dram=replace(hardware.dram, **changes))
        found[f"cycles_without.{name}"] = replay(trace, compiled.program, easier).cycles
    start = run_key(workload, chip)
    figures = {f"{start}.frames": Figure(prepared.stream.frames, "frames")}
    figures |= {f"{start}.{name}": Figure(value, "cycles") for name, value in found.items()}
    count = int((timing.engine == ENGINES.index(_INSTRUCTIONS_OF[engine])).sum())
    figures[f"{start}.instructions"] = Figure(count, "instructions")
    bound, path = found[f"bound.{engine}"], found["critical_path"]
    for name, least in (("over_bound", bound), ("over_both", max(bound, path))):
        ratio = round(statistics.cycles / least, 4)
        figures[f"{start}.{name}"] = Figure(ratio, "x")
    gaps = list(_gaps(engine, workload, chip, compiled, trace, timing))
    return figures, gaps, prepared.files


def _bounds(
    prepared: Prepared,
    compiled: Compiled,
    hardware: Hardware,
    trace: Trace,
    timing: Timing,
    statistics: Statistics,
) -> dict[str, int]:
    """Cycles, and every bound on them, as `azsim.pipeline.run` has them."""
    from azsim.compiler.bounds import engine_bounds
    from azsim.compiler.compile import necessary_steps
    from azsim.compiler.edges import STARTUP
    from azsim.compiler.parameters import parameter_room_bytes, place_parameters
    from azsim.compiler.regions import decisions_of_frames, passed_leaves
    from azsim.stages.record import array_cycles

    lowering = necessary_steps(compiled.compressed, hardware)
    measured = array_cycles(trace, timing, compiled, hardware)
    stream = compiled.program.stream
    apart = stream.paced and statistics.deadline_misses == 0
    passed = passed_leaves(compiled.leaves, compiled.program, trace)
    decided = decisions_of_frames(compiled.leaves, compiled.program, trace)

    def bounds(frames: int) -> tuple[EngineBounds, dict[str, EngineBounds]]:
        share = frames / stream.frames
        return engine_bounds(
            lowering,
            hardware,
            replace(stream, frames=frames),
            prepared.state,
            4 * place_parameters(lowering, parameter_room_bytes(lowering, hardware)).values.size,
            {name: cycles * share for name, cycles in measured.items()},
            frames_are_apart=apart,
            passed={loop: one.of_share(share) for loop, one in passed.items()},
            decided=decided[:frames],
        )

    whole, layers = bounds(stream.frames)
    found = {
        "cycles": statistics.cycles,
        "startup": statistics.startup_cycles,
        "bound.dram": whole.dram_cycles,
        "bound.decoder": whole.decoder_cycles,
        "bound.mac": whole.mac_cycles,
        "bound.vector": whole.vector_cycles,
        "critical_path": whole.critical_path_cycles,
        "chain": whole.chain_cycles,
    }
    found |= _startup(layers[STARTUP].dram_cycles, hardware)
    if apart and stream.frames > 2:
        shorter, _ = bounds(stream.frames - 1)
        found["frame.path"] = whole.critical_path_cycles - shorter.critical_path_cycles
    return found


def _startup(bytes_cycles: int, hardware: Hardware) -> dict[str, int]:
    """Least DRAM cycles of what can stay on the chip: bytes, rows opened, refreshes."""
    dram, clock_hz = hardware.dram, hardware.clock_hz
    rows = bytes_cycles / clock_hz * dram.bytes_per_s // dram.row_bytes
    rows_cycles = rows * dram.row_miss_ns * 1e-9 * clock_hz
    refresh_cycles = 0.0
    if dram.refresh_interval_ns:
        share = dram.refresh_ns / dram.refresh_interval_ns
        refresh_cycles = (bytes_cycles + rows_cycles) * share / (1 - share)
    return {
        "startup.bytes": bytes_cycles,
        "startup.rows": int(rows_cycles),
        "startup.refreshes": int(refresh_cycles),
    }


def _where(
    engine: str, bound: int, trace: Trace, timing: Timing, statistics: Statistics
) -> dict[str, int]:
    """Where the run's cycles went, as the engine that binds sees them; they add up to `cycles`.

    For the decoder and DRAM the engine is the channel of weight loads.
    """
    from azsim.sim.stalls import STALL_REASONS, engine_gaps

    channel = _INSTRUCTIONS_OF[engine]
    gaps = next(gaps for gaps in engine_gaps(trace, timing) if gaps.engine == channel)
    end = timing.without_idle(timing.end)
    busy = statistics.engine_busy_cycles[channel]
    found = {"where.bound": bound, "where.beyond": busy - bound}
    first = int(gaps.undispatched[0] + gaps.waiting[0])
    found["where.before_first"] = first
    for number, reason in enumerate(STALL_REASONS[:-1]):
        cycles = int(gaps.waiting[1:][gaps.cause[1:] == number].sum())
        if cycles:
            found[f"where.{reason}"] = cycles
    found["where.no_work"] = int(gaps.undispatched[1:].sum())
    found["where.after_last"] = statistics.cycles - int(end[gaps.instructions[-1]])
    return found


def _gaps(
    engine: str,
    workload: str,
    chip: str,
    compiled: Compiled,
    trace: Trace,
    timing: Timing,
) -> Iterator[Gap]:
    """Longest gaps of the frame in the middle."""
    import numpy as np

    from azsim.machine.engines.clock import ENGINES
    from azsim.sim.stalls import STALL_REASONS, engine_gaps

    channel = _INSTRUCTIONS_OF[engine]
    gaps = next(gaps for gaps in engine_gaps(trace, timing) if gaps.engine == channel)
    frame, first, stop = _middle_frame(trace, timing)
    program = compiled.program
    index = np.array([site.index for site in trace.sites])[timing.site]
    end = timing.without_idle(timing.end)
    start = timing.without_idle(timing.start)
    total = gaps.undispatched + gaps.waiting
    inside = (gaps.instructions >= first) & (gaps.instructions < stop)
    longest = np.flatnonzero(inside & (total >= _LEAST_GAP_CYCLES))
    longest = longest[np.argsort(-total[longest], kind="stable")][:_MOST_GAPS]

    def layer(number: int) -> str:
        return program.layers[program.layer_of[index[number]]]

    for at in longest:
        mine = int(gaps.instructions[at])
        waits = gaps.waiting[at] > gaps.undispatched[at]
        reason = STALL_REASONS[gaps.cause[at]] if waits else "no_work"
        others = (timing.engine < len(ENGINES)) & (timing.engine != ENGINES.index(channel))
        if reason.startswith("wait_"):
            others = timing.engine == ENGINES.index(reason.removeprefix("wait_"))
        others &= end <= start[mine]
        others[mine:] = False
        number = int(np.flatnonzero(others)[np.argmax(end[others])]) if others.any() else mine
        yield Gap(
            workload,
            chip,
            frame,
            layer(int(gaps.instructions[at - 1])) if at else "(begin)",
            layer(mine),
            int(total[at]),
            reason,
            trace.sites[timing.site[number]].mnemonic,
            layer(number),
        )


def _middle_frame(trace: Trace, timing: Timing) -> tuple[int, int, int]:
    """Number of the frame in the middle, its first instruction, and the next one's."""
    import numpy as np

    paced: np.ndarray = np.array([site.paced for site in trace.sites], bool)[timing.site]
    begins = np.flatnonzero(paced)
    if not len(begins):
        return 0, 0, len(timing.site)
    middle = len(begins) // 2
    stop = begins[middle + 1] if middle + 1 < len(begins) else len(timing.site)
    return middle, int(begins[middle]), int(stop)
