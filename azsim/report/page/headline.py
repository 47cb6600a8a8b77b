"""What stands on top of a run's page: what ran on what, and what people ask for first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from azsim.report.units import duration, frequency, number, percent, rate, size, times

__all__ = ["BOUND_NAMES", "Tile", "about", "bound_by", "least_cycles", "tiles"]

BOUND_NAMES = {
    "dram": "DRAM",
    "decoder": "decoder",
    "mac": "MAC array",
    "vector": "vector engine",
    "path": "critical path",
}
"""By their name in ``summary.json``."""


@dataclass(frozen=True)
class Tile:
    """A figure that is shown large.

    Attributes
    ----------
    value, label : str
    verdict : str
        ``good``, ``bad`` or empty.
    """

    value: str
    label: str
    verdict: str = ""


def about(summary: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """Say what ran on what, in a line."""
    versions = document.get("versions", {})
    model = f"timing model: {summary['timing_model']}"
    if (fast := summary["fast_cycles"]) is not None and summary["cycles"]:
        model += f" (the fast one: {100 * (fast / summary['cycles'] - 1):+.3f} %)"
    parts = [
        f"clock {frequency(document['clock_hz'])}",
        model,
        *(f"{name} {version}" for name, version in versions.items()),
    ]
    return " · ".join(parts)


def tiles(summary: Mapping[str, Any], document: Mapping[str, Any]) -> list[Tile]:
    """Answers to what people ask first."""
    return list(_tiles(summary, document["clock_hz"]))


def _tiles(summary: Mapping[str, Any], clock_hz: float) -> Iterator[Tile]:
    cycles = summary["cycles"]
    yield Tile(number(cycles), f"cycles, {duration(cycles / clock_hz)}; waiting for input left out")
    frames, together = summary.get("chunk_frames", 1), summary.get("chunks_together", 1)
    what = "frame" if frames == 1 else "chunk"
    if frame := summary["frame_latency_s"]:
        rest = f"; that of {together} {what}s computed together" if together > 1 else ""
        label = f"latency of a frame, p50; max {duration(frame['max'])}{rest}"
        yield Tile(duration(frame["p50"]), label)
    if frames > 1 and (chunk := summary["chunk_latency_s"]):
        label = f"latency of {frames} frames at a time, from the arrival of the last, p50"
        yield Tile(duration(chunk["p50"]), f"{label}; max {duration(chunk['max'])}")
    if (factor := summary["real_time_factor"]) is not None:
        verdict = "good" if factor < 1 else "bad"
        yield Tile(f"{factor:.4g}", "real-time factor: busy time per time of input", verdict)
    if (misses := summary["deadline_misses"]) is not None:
        label = f"{what}s slower than the time between {what}s"
        yield Tile(number(misses), label, "bad" if misses else "good")
    if least := least_cycles(summary):
        by = bound_by(summary)
        yield Tile(times(cycles / least), f"of the larger lower bound: {BOUND_NAMES.get(by, by)}")
    traffic = summary["dram_read_bytes"] + summary["dram_write_bytes"]
    yield Tile(size(traffic), f"DRAM traffic, {rate(summary['dram_bytes_per_s'])}")
    if summary.get("weight_bytes_dense"):
        shrunk = summary["weight_bytes_compressed"]
        label = f"a weight, with scales; {size(shrunk)} in all"
        yield Tile(f"{summary['bits_per_weight']:.2f} bits", label)
    if summary["macs"]:
        skipped = percent(summary["macs_skipped"], summary["macs"])
        yield Tile(percent(summary["mac_utilization"]), f"of the array used; {skipped} skipped")
    if (errors := summary.get("word_error_rate")) is not None:
        by_float = summary["float_word_error_rate"]
        beside = "" if by_float is None else f"; float model {percent(by_float)}"
        yield Tile(percent(errors), f"word error rate{beside}")
    if "bit_exact" in summary:
        exact = summary["bit_exact"]
        shown = {None: "not checked", True: "yes", False: "no"}[exact]
        verdict = {None: "", True: "good", False: "bad"}[exact]
        yield Tile(shown, "bit exact against the reference evaluator", verdict)
    if "races" in summary:
        races = summary["races"]
        verdict = "" if races is None else "bad" if races else "good"
        shown = "not looked for" if races is None else number(len(races))
        yield Tile(shown, "races: pairs of accesses that no wait orders", verdict)


def least_cycles(work: Mapping[str, Any]) -> int:
    """The larger lower bound of a run or a layer; 0 for a program's, which has none."""
    return max(work.get("bound_cycles", 0), work.get("critical_path_cycles", 0))


def bound_by(work: Mapping[str, Any]) -> str:
    """What that is the bound of."""
    return "path" if least_cycles(work) > work["bound_cycles"] else work["bound_by"]
