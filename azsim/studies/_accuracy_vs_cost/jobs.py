"""The work of the study accuracy_vs_cost, in pieces that processes of their own do."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from azsim.frontend.workload import Workload, load_workload
from azsim.speech.corpus import Corpus
from azsim.speech.grammar import decode
from azsim.stages.host_transducer import Heard as HostHeard
from azsim.studies._accuracy_vs_cost.rows import FRAME_S, UNITS, WHOLE, Row
from azsim.studies._write import Figure

__all__ = ["TIMED", "Heard", "cost", "hear", "hear_on_host", "hear_uncompressed", "workload_of"]

TIMED = 8
"""Utterances of the tree that a run on az1 hears."""
_STARTUP = "(startup)"

Heard = Mapping[str, Sequence[str]]
"""What is heard in each utterance, by set."""


def workload_of(row: Row, weights: Path, *overrides: str) -> Workload:
    """The shipped workload of a unit, with the weights and the scheme of a row."""
    given = (*row.overrides(weights.absolute()), *overrides)
    return load_workload(f"speech_commands_{row.unit}", given)


@functools.lru_cache(maxsize=8)
def _features(folder: Path, name: str) -> list[np.ndarray]:
    """Features of each utterance of a set."""
    utterances = Corpus.open(folder).set(name)
    data, rows = utterances.features(), utterances.rows
    return [np.asarray(data[begin:end]) for begin, end in itertools.pairwise(rows)]


def _texts(symbols: Sequence[Sequence[int]], unit: str) -> list[str]:
    return [" ".join(decode(row, UNITS[unit]).split()) for row in symbols]


def hear(row: Row, weights: Path, audio: Path, sets: Sequence[str]) -> Heard:
    """What the chip hears."""
    heard = _by_chip(workload_of(row, weights), audio, sets)
    return {name: _texts(symbols, row.unit) for name, symbols in heard.items()}


def _by_chip(
    workload: Workload, audio: Path, sets: Sequence[str]
) -> dict[str, Sequence[Sequence[int]]]:
    from azsim.stages.recognise import recognise

    parts = {name: _features(audio, name) for name in sets}
    symbols = iter(recognise(workload, list(itertools.chain(*parts.values()))))
    return {name: list(itertools.islice(symbols, len(part))) for name, part in parts.items()}


def hear_on_host(unit: str, model: str, weights: Path, audio: Path, sets: Sequence[str]) -> Heard:
    """What the float model hears, in float64 on the host."""
    row = Row(unit, "post", WHOLE)
    with np.load(weights / f"{model}.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    heard = {name: _host(row, weights, arrays, audio, name) for name in sets}
    return {name: _texts([each.symbols for each in part], unit) for name, part in heard.items()}


def hear_uncompressed(
    unit: str, weights: Path, audio: Path, sets: Sequence[str]
) -> tuple[int, list[float]]:
    """Compare chip and host with the same weights of 8 bits, and activations of 16.

    Returns
    -------
    utterances : int
    leads : list of float
        Of each utterance in which they do not hear the same symbols: by how much the closest
        decision of the host was won.
    """
    from azsim.pipeline import export_arrays, load_model

    row = Row(unit, "post", WHOLE)
    workload = workload_of(row, weights, "compression.default.activations.bits=16")
    arrays = {**load_model(workload).graph.initializers, **export_arrays(workload)}
    utterances, leads = 0, []
    for name, chip in _by_chip(workload, audio, sets).items():
        host = _host(row, weights, arrays, audio, name)
        utterances += len(chip)
        pairs = zip(chip, host, strict=True)
        leads += [each.margin for heard, each in pairs if list(heard) != list(each.symbols)]
    return utterances, leads


def _host(
    row: Row, weights: Path, arrays: Mapping[str, np.ndarray], audio: Path, name: str
) -> list[HostHeard]:
    from azsim.stages.host_transducer import greedy

    model = workload_of(row, weights).model
    most = getattr(model, "max_symbols")  # noqa: B009 - the builder's own key
    return greedy(arrays, _features(audio, name), most)


def cost(row: Row, weights: Path, first: int = TIMED) -> dict[str, Figure]:
    """Run some of the tree's utterances on az1, and compare every tensor with the evaluator."""
    from azsim.pipeline import run

    workload = workload_of(row, weights, f"input.first={first}")
    result = run(workload, timeline=False, bounded=False, verify=True)
    stats, words = result.statistics, result.words
    assert stats.frame_latency_s is not None
    assert words is not None
    assert result.comparison is not None
    filling = sum(layer.dram_read_bytes for layer in stats.layers if layer.name == _STARTUP)
    moved = stats.dram_read_bytes + stats.dram_write_bytes - filling
    count = sum(weight.weights for weight in result.weights)
    stored = sum(weight.encoded_bytes + weight.scale_bytes for weight in result.weights)
    zeros = sum(weight.zeros for weight in result.weights)
    figures = {
        "bits_per_weight": Figure(round(8 * stored / count, 3), "bits/weight"),
        "zeros": Figure(round(100 * zeros / count, 1), "% of the weights"),
        "dram_bytes_per_s": Figure(
            round(moved / (stats.frames * FRAME_S)), "bytes per second of audio"
        ),
        "latency_us_p50": Figure(round(1e6 * stats.frame_latency_s["p50"], 2), "µs"),
        "latency_us_max": Figure(round(1e6 * stats.frame_latency_s["max"], 2), "µs"),
        "weight_sram": Figure(result.sram_peak_bytes["weight"], "bytes"),
        "weight_sqnr": Figure(_weight_sqnr_db(row, workload, weights), "dB"),
        "bit_exact": Figure(int(result.comparison.bit_exact), "1 if so, in all tensors"),
        "timed_word_errors": Figure(sum(each.errors for each in words.known), "words"),
    }
    return {f"{row.key}.{name}": figure for name, figure in figures.items()}


def _weight_sqnr_db(row: Row, workload: Workload, weights: Path) -> float:
    """Energy of the float weights over that of what separates the chip's from them."""
    from azsim.pipeline import export_arrays

    with np.load(weights / f"{row.start}.npz") as archive:
        wanted = {name: archive[name].astype(np.float64) for name in archive.files}
    found = export_arrays(workload)
    noise = sum(np.square(found[name] - wanted[name]).sum() for name in found)
    power = sum(np.square(wanted[name]).sum() for name in found)
    return round(10 * math.log10(power / noise), 1) + 0.0
