"""The figures of ``summary.json``: their units, what they mean, and which of them are exact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

__all__ = [
    "DECISION_UNITS",
    "EXACT_AND_MODELLED",
    "FIGURES",
    "is_exact",
    "is_figure",
    "look_up",
    "meaning",
    "unit_of",
]

_MEMORIES = ("weight", "activation")
_QUEUED = ("weight", "load", "store", "mac", "vector")
_ENGINES = (*_QUEUED, "decoder", "sequencer")
_BOUNDED = ("dram", "decoder", "mac", "vector")
_REASONS = ("input", *(f"wait_{engine}" for engine in (*_QUEUED, "dram")), "no_work")
_WORDS = (
    *("words", "errors", "substitutions", "deletions", "insertions"),
    *("standard_error", "float_standard_error", "float_agreement"),
    *("silent_utterances", "heard_as_silent"),
)
_PERCENTILES = ("p50", "p95", "p99", "max")


def _figures() -> Iterator[tuple[str, str]]:
    for key in ("cycles", "startup_cycles", "idle_cycles", "ideal_mac_cycles", "bound_cycles"):
        yield key, "cycles"
    yield from (("critical_path_cycles", "cycles"), ("chain_cycles", "cycles"))
    yield from (("latency_s", "s"), ("real_time_factor", "1"))
    yield from ((key, "frames") for key in ("frames", "chunk_frames"))
    yield from ((key, "chunks") for key in ("chunks_together", "deadline_misses"))
    for key in ("frame_latency_s", "chunk_latency_s"):
        yield from ((f"{key}.{part}", "s") for part in _PERCENTILES)
    for key in ("dram_read", "dram_write", "dram_useful", "weight_read"):
        yield f"{key}_bytes", "B"
    yield "weight_read_bytes_planned", "B"
    yield from ((f"weight_bytes_{kind}", "B") for kind in ("dense", "compressed"))
    yield from (("dram_bytes_per_s", "B/s"), ("weight_reuse", "MAC/B"), ("bits_per_weight", "bit"))
    yield from ((key, "MAC") for key in ("macs", "macs_executed", "macs_skipped"))
    yield "mac_utilization", "1"
    yield from ((f"sram_peak_bytes.{memory}", "B") for memory in _MEMORIES)
    yield from ((f"engine_busy_cycles.{engine}", "cycles") for engine in _ENGINES)
    yield from (("word_error_rate", "1"), ("float_word_error_rate", "1"))
    yield from ((f"words.{key}", "1") for key in _WORDS)
    for engine in _ENGINES:
        yield from ((f"stall_cycles.{engine}.{reason}", "cycles") for reason in _REASONS)
    yield from ((f"engine_bound_cycles.{engine}", "cycles") for engine in _BOUNDED)


FIGURES: Mapping[str, str] = MappingProxyType(dict(_figures()))
"""Units of the numbers in ``summary.json``, by dotted key; 1 is a plain number.  Those of
``outputs`` are named after the model's outputs."""

_OUTPUT_UNITS = {"sqnr_db": "dB", "equal_share": "1"}
DECISION_UNITS = {"agreement": "1", "accuracy": "1", "float_accuracy": "1", "frames": "frames"}
"""Of the figures of a decision."""
_FREE = ("outputs", "decisions")

EXACT_AND_MODELLED = (
    "Exact: outputs, bytes, executed and skipped MACs. Modelled: cycles and all that follows from "
    "them (times, rates, utilization). A preset's figures are assumptions but where it names "
    "a source."
)

_MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "cycles": "core cycles of the whole run, waiting for input not counted",
        "startup_cycles": "cycles until all that stays on the chip is loaded",
        "idle_cycles": "cycles in which no engine was busy and a frame was awaited",
        "latency_s": "from start to end, waiting for input included",
        "frames": "frames in the input",
        "chunk_frames": "frames that are computed at once",
        "chunks_together": "chunks that a round of the program's loop computes, side by side",
        "frame_latency_s": "over frames: from a frame's arrival to the end of its computation",
        "chunk_latency_s": "over chunks: from the arrival of the last frame to the end",
        "real_time_factor": "busy time over the duration of the input; below 1 is faster",
        "deadline_misses": "chunks that took longer than the time between chunks",
        "dram_read_bytes": "whole bursts of loads",
        "dram_write_bytes": "whole bursts of stores",
        "dram_useful_bytes": "what the transfers asked for, both directions",
        "dram_bytes_per_s": "read and written, per busy time",
        "weight_read_bytes": "whole bursts of compressed weights",
        "weight_read_bytes_planned": (
            "whole bursts of compressed weights, as the compiler foretold; an estimate where data "
            "decides what runs"
        ),
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
        "engine_busy_cycles.decoder": "the decoder's own cycles for the loads, input always ready",
        "engine_busy_cycles.sequencer": "cycles of issuing instructions",
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
        "words.words": "words that were said",
        "words.errors": "wrong, missing and added words",
        "words.substitutions": "words heard as others",
        "words.deletions": "words that were said and not heard",
        "words.insertions": "words that were heard and not said",
        "words.standard_error": "of the word error rate, over utterances",
        "words.float_standard_error": "of the float model's word error rate, over utterances",
        "words.float_agreement": "share of utterances that are heard as by the float model",
        "words.silent_utterances": "utterances in which nothing is said",
        "words.heard_as_silent": "of these, those in which nothing was heard",
    }
)
_EXACT = frozenset(
    {
        *(
            "frames",
            "chunk_frames",
            "chunks_together",
            "macs",
            "macs_executed",
            "macs_skipped",
            "bits_per_weight",
        ),
        *("dram_read_bytes", "dram_write_bytes", "dram_useful_bytes", "sram_peak_bytes"),
        *("weight_read_bytes", "weight_read_bytes_planned", "weight_reuse"),
        *("weight_bytes_dense", "weight_bytes_compressed"),
        *("outputs", "decisions", "words", "word_error_rate", "float_word_error_rate"),
    }
)


def is_figure(key: str) -> bool:
    """Whether ``summary.json`` may have a number under a dotted key."""
    root, dot, rest = key.partition(".")
    return key in FIGURES or (root in _FREE and bool(dot and rest))


def unit_of(key: str) -> str | None:
    """Return the unit of a figure, None where nobody can know it."""
    units = {"outputs": _OUTPUT_UNITS, "decisions": DECISION_UNITS}.get(key.partition(".")[0], {})
    return FIGURES.get(key) or units.get(key.rpartition(".")[2])


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
    names = (key, steps[0], steps[-1])
    return next((_MEANINGS[name] for name in names if name in _MEANINGS), "")


def is_exact(key: str) -> bool:
    """Whether a figure does not follow from modelled cycles."""
    return key.partition(".")[0] in _EXACT


def look_up(value: Any, steps: list[str]) -> Any:
    """Return what lies under the steps of a dotted key, None where nothing does.

    Parameters
    ----------
    value : object
        Mappings and lists in each other, such as ``summary.json``.
    steps : list of str
        An index of a list is a step too; one that has a dot in its name is found all the same.
    """
    if not steps:
        return value
    if isinstance(value, Sequence) and not isinstance(value, str):
        is_index = steps[0].isdecimal() and int(steps[0]) < len(value)
        return look_up(value[int(steps[0])], steps[1:]) if is_index else None
    if not isinstance(value, Mapping):
        return None
    for length in range(1, len(steps) + 1):
        name = ".".join(steps[:length])
        if name in value:
            found = look_up(value[name], steps[length:])
            if found is not None:
                return found
    return None
