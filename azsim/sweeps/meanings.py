"""What the figures of ``summary.json`` mean, in a sentence each, and which of them are exact."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from azsim.sweeps.expressions import parse_expression
from azsim.sweeps.objectives import is_figure

__all__ = ["EXACT_AND_MODELLED", "is_modelled", "meaning"]

EXACT_AND_MODELLED = (
    "Exact: outputs and what is compared with the float model, bytes, executed and skipped MACs. "
    "Modelled: cycles and all that follows from them (times, rates, utilization). A preset's "
    "figures are assumptions but where it names a source."
)

_MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "cycles": "core cycles of the whole run, waiting for input not counted",
        "startup_cycles": "cycles until all that stays on the chip is loaded",
        "idle_cycles": "cycles in which no engine was busy and a frame was awaited",
        "latency_s": "from start to end, waiting for input included",
        "frames": "frames in the input",
        "chunk_frames": "frames that are computed at once",
        "frame_latency_s": "over frames: from a frame's arrival to the end of its computation",
        "chunk_latency_s": "over chunks: from the arrival of the last frame to the end",
        "real_time_factor": "busy time over the duration of the input; below 1 is faster",
        "deadline_misses": "chunks that took longer than the time between chunks",
        "dram_read_bytes": "whole bursts of loads",
        "dram_write_bytes": "whole bursts of stores",
        "dram_useful_bytes": "what the transfers asked for, both directions",
        "dram_bytes_per_s": "read and written, per busy time",
        "weight_read_bytes": "whole bursts of compressed weights",
        "weight_read_bytes_planned": "whole bursts of compressed weights, as the compiler foretold",
        "weight_reuse": "products with weights over the bytes of weights that were read",
        "weight_bytes_dense": "weights at the scheme's bits, packed, no scales",
        "weight_bytes_compressed": "blocks in the image with headers and tables, and scales",
        "bits_per_weight": "compressed bytes, as bits, over the number of weights",
        "macs": "products of the dense shapes",
        "macs_executed": "products that were carried out",
        "macs_skipped": "products that were skipped, as a factor is zero",
        "mac_utilization": "executed products over cycles times the array's peak",
        "sram_peak_bytes": "highest used byte of the memory",
        "engine_busy_cycles": "cycles of the engine from start to end of its instructions",
        "stall_cycles": "cycles in which the engine stood still for this reason",
        "bound_cycles": "largest of the lower bounds on necessary work",
        "engine_bound_cycles": "lower bound on the engine's necessary work",
        "ideal_mac_cycles": "products of two non-zero factors over the peak",
        "critical_path_cycles": "longest chain of dependent work with one of each engine",
        "chain_cycles": "longest chain of dependent steps with any number of engines",
        "sqnr_db": "power of the float model's output over that of the error",
        "max_abs_error": "largest distance from the float model's output",
        "equal_share": "share of choices, such as symbols, that are the float model's",
        "agreement": "share of frames whose decision is that of the float model",
        "accuracy": "share of frames whose decision is that of the labels",
        "float_accuracy": "share of frames whose decision by the float model is the labels'",
        "word_error_rate": "wrong, missing and added words over the words that were said",
        "float_word_error_rate": "word error rate of the float model",
        "words": "words that were said, and what became of them",
    }
)
_EXACT = frozenset(
    {
        *("frames", "chunk_frames", "macs", "macs_executed", "macs_skipped", "bits_per_weight"),
        *("dram_read_bytes", "dram_write_bytes", "dram_useful_bytes", "sram_peak_bytes"),
        *("weight_read_bytes", "weight_read_bytes_planned", "weight_reuse"),
        *("weight_bytes_dense", "weight_bytes_compressed"),
        *("outputs", "decisions", "words", "word_error_rate", "float_word_error_rate"),
    }
)


def meaning(key: str) -> str:
    """Say what a figure is.

    Parameters
    ----------
    key : str
        Dotted key of ``summary.json``, or an expression.

    Returns
    -------
    str
        Empty for an expression, which says it itself.
    """
    steps = key.split(".")
    return _MEANINGS.get(steps[0]) or _MEANINGS.get(steps[-1], "")


def is_modelled(key: str) -> bool:
    """Whether a figure, or a part of an expression, follows from modelled cycles."""
    names = [key] if is_figure(key) else parse_expression(key).names
    return any(is_figure(name) and name.partition(".")[0] not in _EXACT for name in names)
