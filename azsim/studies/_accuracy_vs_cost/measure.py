"""The study accuracy_vs_cost as a whole: all its work, its figures, and what is written."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import math
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from azsim.speech.corpus import Corpus
from azsim.speech.grammar import WORDS
from azsim.studies._accuracy_vs_cost.audio import audio_sha256, heard_before
from azsim.studies._accuracy_vs_cost.figures import (
    errors_of,
    rate_figures,
    seed_figures,
    shuffled_rate,
    unsaid_figures,
)
from azsim.studies._accuracy_vs_cost.jobs import (
    TIMED,
    Heard,
    cost,
    hear,
    hear_on_host,
    hear_uncompressed,
)
from azsim.studies._accuracy_vs_cost.plots import plots
from azsim.studies._accuracy_vs_cost.rows import TESTS, UNITS, WHOLE, Row
from azsim.studies._accuracy_vs_cost.text import readme
from azsim.studies._write import Figure, Progress, figures_text, write_study
from azsim.sweeps.processes import cores, one_thread

__all__ = ["study"]

_NAME = "accuracy_vs_cost"
_UNSAID = ("noise_only", "out_of_vocabulary")
_EXAMPLES = 12
_Key = TypeVar("_Key")
_Found = TypeVar("_Found")


def study(
    directory: Path,
    weights: Path,
    audio: Corpus,
    some: Sequence[Row],
    progress: Callable[[str, int, int], None] | None = None,
    timed: int = TIMED,
) -> None:
    """Make the study of some rows, with weights and test sets of some folder."""
    done = _measure(some, weights, audio, progress, timed)
    figures = _figures(done, some, audio)
    figures["audio.as_committed"] = Figure(int(heard_before(audio)), "1 if so")
    examples = _unknown_words(done, audio)
    files = {f"{name}.npz": _sha256(weights / f"{name}.npz") for name in _models(some)}
    files |= {f"{name}/audio.npy": digest for name, digest in audio_sha256(audio).items()}
    write_study(
        directory,
        {
            "README.md": readme(figures, examples),
            "data.json": figures_text(_NAME, figures, files),
            "unknown_words.csv": examples,
            **plots(figures),
        },
    )


def _models(some: Sequence[Row]) -> list[str]:
    return sorted({name for row in some for name in (row.model, row.start)})


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# ------------------------------------------------------------------------------------- work


@dataclass
class _Done:
    """What the processes found."""

    chip: dict[Row, Heard] = field(default_factory=dict)
    host: dict[tuple[str, int], Heard] = field(default_factory=dict)
    same: dict[str, tuple[int, list[float]]] = field(default_factory=dict)
    costs: dict[str, Figure] = field(default_factory=dict)


def _measure(
    some: Sequence[Row],
    weights: Path,
    audio: Corpus,
    progress: Callable[[str, int, int], None] | None,
    timed: int,
) -> _Done:
    """Do all the work, as much at a time as there are cores."""
    floats = {(row.unit, row.seed): row.start for row in some}
    first = [row for row in some if row.seed == 0]
    done = _Done()
    with one_thread(), _pool(cores()) as pool:
        # The long ones first, so that no core is left alone with one.
        same = {u: pool.submit(hear_uncompressed, u, weights, audio.folder, TESTS) for u in UNITS}
        chip = {row: pool.submit(hear, row, weights, audio.folder, _heard_by(row)) for row in some}
        host = {
            key: pool.submit(hear_on_host, key[0], name, weights, audio.folder, TESTS)
            for key, name in floats.items()
        }
        costs = {row: pool.submit(cost, row, weights, timed) for row in first}
        steps = Progress(progress, len(same) + len(chip) + len(host) + len(costs))
        for unit, found in _finished(same, steps):
            done.same[unit] = found
        for row, heard in _finished(chip, steps):
            done.chip[row] = heard
        for key, heard in _finished(host, steps):
            done.host[key] = heard
        for _, found in _finished(costs, steps):
            done.costs |= found
    return done


def _heard_by(row: Row) -> tuple[str, ...]:
    return (*TESTS, *_UNSAID) if row.hears_all else TESTS


def _finished(
    futures: Mapping[_Key, Future[_Found]], steps: Progress
) -> Iterator[tuple[_Key, _Found]]:
    for key, future in futures.items():
        found = future.result()
        steps.step("hearing and timing models")
        yield key, found


@contextlib.contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that were started anew, so that they hold no threads of compiled kernels."""
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


# ---------------------------------------------------------------------------------- figures


def _figures(done: _Done, some: Sequence[Row], audio: Corpus) -> dict[str, Figure]:
    said = {name: audio.set(name).texts for name in (*TESTS, *_UNSAID)}
    figures: dict[str, Figure] = {}
    for name in said:
        described = audio.document["sets"][name]
        figures[f"audio.{name}.utterances"] = Figure(described["utterances"], "utterances")
        figures[f"audio.{name}.hours"] = Figure(round(described["hours"], 2), "hours")
    floats = {
        key: {name: errors_of(said[name], heard[name]) for name in TESTS}
        for key, heard in done.host.items()
    }
    for (unit, seed), found in floats.items():
        for name in TESTS:
            figures |= rate_figures(f"{unit}.float.seed{seed}.{name}", found[name])
    for row in some:
        heard = done.chip[row]
        for name in TESTS:
            found, other = errors_of(said[name], heard[name]), floats[row.unit, row.seed][name]
            figures |= rate_figures(f"{row.key}.{name}", found, other)
        if row.hears_all:
            foreign = said["out_of_vocabulary"]
            figures |= unsaid_figures(row.key, heard, foreign, frozenset(WORDS))
        if row.seed == 0 and (row.way, row.scheme) == ("post", WHOLE):
            for name in TESTS:
                rate = shuffled_rate(said[name], heard[name])
                figures[f"{row.unit}.shuffled.{name}.wer"] = Figure(rate, "% of words")
    figures |= done.costs | seed_figures(figures, some)
    for unit, (utterances, leads) in done.same.items():
        start = f"{unit}.uncompressed"
        figures[f"{start}.utterances"] = Figure(utterances, "utterances")
        figures[f"{start}.different"] = Figure(len(leads), "utterances with other symbols")
        if leads:  # rounded upwards: the last bits of the host's sums depend on the machine
            figures[f"{start}.lead"] = Figure(
                math.ceil(1e4 * max(leads)) / 1e4, "closest decision of those, at most"
            )
    return figures


def _unknown_words(done: _Done, audio: Corpus) -> str:
    """What is heard of the first sentences with a word that nobody taught, as CSV."""
    said = audio.set("out_of_vocabulary").texts[:_EXAMPLES]
    heads = {Row(unit, "post", WHOLE): name for unit, name in UNITS.items()}
    columns = [done.chip[row]["out_of_vocabulary"][:_EXAMPLES] for row in heads]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("said", *heads.values()))
    writer.writerows(zip(said, *columns, strict=True))
    return file.getvalue()
