"""Transcribe: what a workload's outputs say in words, and what would be right."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from azsim.config.document import dotted
from azsim.errors import ConfigError, InputError, unknown
from azsim.frontend.workload import Workload
from azsim.frontend.workload_inputs import units_path
from azsim.inputs.utterances import Utterance
from azsim.ir import Graph, Node
from azsim.sim.statistics import Chunks
from azsim.sim.words import HeardUtterance, WordCheck
from azsim.stages.prepare import Prepared
from azsim.word_errors import WordErrors, word_errors

__all__ = [
    "Reading",
    "check_words",
    "read_transcript",
    "read_units",
    "symbols_of",
    "symbols_of_parts",
    "unit_hashes",
]

_SPACE = "<space>"
_LARGEST_FILE_BYTES = 1 << 26
_DECODER, _DECODER_WEIGHT = "TransducerGreedy", 2


@dataclass(frozen=True)
class Reading:
    """How outputs are read.

    Attributes
    ----------
    symbols, counts : str
        Outputs.
    units : tuple of str
        What each symbol stands for.
    separator : str
    utterances : tuple of Utterance
        At least one; what is said in each, if that is known.
    chunks : Chunks
        Frames of each, those on zeros that fill up a last chunk left out.
    """

    symbols: str
    counts: str
    units: tuple[str, ...]
    separator: str
    utterances: tuple[Utterance, ...]
    chunks: Chunks

    def text(self, symbols: Sequence[int]) -> str:
        """Words of symbols, with one blank between each."""
        joined = self.separator.join(self.units[symbol] for symbol in symbols)
        return " ".join(joined.split())


def read_transcript(workload: Workload, prepared: Prepared) -> Reading | None:
    """Read the section ``transcript`` and the file of units; None where there is no such section.

    Raises
    ------
    InputError
        With everything that does not fit the model.
    """
    transcript, path = workload.transcript, units_path(workload)
    if transcript is None or path is None:
        return None
    problems = list(_output_problems(workload, prepared))
    units: tuple[str, ...] = ()
    try:
        units = read_units(path)
        decoder = _decoder(prepared.compressed.graph, transcript.symbols)
        if not problems and decoder is not None:
            _check_count(len(units), prepared.compressed.graph, decoder)
    except InputError as error:
        problems.append((("transcript", "units"), str(error)))
    if problems:
        raise ConfigError(
            [f"{workload.place(at)}: {dotted(at)}: {sentence}" for at, sentence in problems]
        )
    utterances = prepared.utterances or (Utterance(workload.name, None, prepared.chunks.frames),)
    return Reading(
        transcript.symbols,
        transcript.counts,
        units,
        transcript.separator,
        utterances,
        prepared.chunks,
    )


def unit_hashes(workload: Workload) -> dict[str, str]:
    """Return sha256 of the file of units, by its reference; empty without a transcript."""
    path = units_path(workload)
    if workload.transcript is None or path is None:
        return {}
    return {workload.transcript.units: hashlib.sha256(path.read_bytes()).hexdigest()}


def read_units(path: Path) -> tuple[str, ...]:
    """Read what symbols stand for: a unit a line, ``<space>`` a blank.

    Raises
    ------
    InputError
        If the file cannot be read, is empty, or a line is empty or there twice.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            raise InputError(f"{path}: too large, allowed: up to {_LARGEST_FILE_BYTES} bytes")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8: {error.reason}") from None
    if not lines:
        raise InputError(f"{path}: no units")
    problems, first = [], {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            problems.append(f"{path}:{number}: no unit; a blank is written {_SPACE}")
        elif line != line.strip():
            problems.append(f"{path}:{number}: blanks around a unit, found {line!r}")
        elif line in first:
            problems.append(f"{path}:{number}: {line!r} is there twice, first in {first[line]}")
        first.setdefault(line, number)
    if problems:
        raise InputError("\n".join(problems))
    return tuple(" " if line == _SPACE else line for line in lines)


def _output_problems(
    workload: Workload, prepared: Prepared
) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield what is wrong with the outputs that are to be read, and where it is said."""
    transcript, graph = workload.transcript, prepared.compressed.graph
    assert transcript is not None
    outputs = [name for name in graph.outputs if name not in prepared.state.values()]
    rows = {}
    for key, wanted in (("symbols", 2), ("counts", 1)):
        name = getattr(transcript, key)
        if name not in outputs:
            yield ("transcript", key), unknown("graph output", name, outputs)
            continue
        kind = graph.types[name]
        if kind.dtype != "int32" or len(kind.shape) != wanted:
            form = "int32[frames, symbols]" if wanted == 2 else "int32[frames]"
            yield ("transcript", key), f"not such an output, found {kind}, allowed: {form}"
            continue
        rows[key] = kind.shape[0]
    if len(set(rows.values())) == 2:
        found = f"found {rows['counts']} counts for {rows['symbols']} rows of symbols"
        yield ("transcript", "counts"), f"one count a row, {found}"
    elif rows and rows.get("symbols", 0) % prepared.chunks.chunk_frames:
        found = f"found {rows['symbols']} for {prepared.chunks.chunk_frames} frames"
        yield ("transcript", "symbols"), f"rows of symbols are no whole number a frame, {found}"


def _decoder(graph: Graph, symbols: str) -> Node | None:
    """The transducer's decoder that gives the symbols; None where another operator does."""
    for node in graph.nodes:
        if node.op == _DECODER and node.outputs[0] == symbols:
            return node
    return None


def _check_count(found: int, graph: Graph, decoder: Node) -> None:
    """Require a unit for each of the decoder's symbols but the blank, its last."""
    count = graph.initializers[decoder.inputs[_DECODER_WEIGHT]].shape[0]
    blank = decoder.attributes.get("blank", count - 1)
    if blank != count - 1:
        raise InputError(f"the blank is the last symbol, found {blank} of {count}")
    if found != count - 1:
        raise InputError(
            f"a unit for each symbol but the blank, found {found}, allowed: {count - 1}"
        )


def symbols_of(reading: Reading, outputs: Mapping[str, np.ndarray]) -> list[list[int]]:
    """Symbols of each utterance.

    Parameters
    ----------
    reading : Reading
    outputs : mapping of str to ndarray
        As `azsim.stages.check.named_outputs` has them.
    """
    return symbols_of_parts(outputs[reading.symbols], outputs[reading.counts], reading.chunks)


def symbols_of_parts(symbols: np.ndarray, counts: np.ndarray, chunks: Chunks) -> list[list[int]]:
    """Symbols of each utterance, those on zeros that fill up a last chunk left out.

    Parameters
    ----------
    symbols : ndarray, int32
        Rows of symbols, the same number of them for each place of each chunk.
    counts : ndarray, int32
        How many symbols of each row there are.
    chunks : Chunks
    """
    counts = counts.reshape(-1)
    rows_of_frame = len(counts) // len(chunks.is_frame())
    is_row = np.repeat(chunks.is_frame(), rows_of_frame)
    symbols, counts = symbols.reshape(len(is_row), -1)[is_row], counts[is_row]
    ends = rows_of_frame * np.cumsum(chunks.utterance_frames or (chunks.frames,))
    return [
        [int(symbol) for row, count in zip(rows, own, strict=True) for symbol in row[:count]]
        for rows, own in zip(np.split(symbols, ends[:-1]), np.split(counts, ends[:-1]), strict=True)
    ]


def check_words(
    outputs: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], reading: Reading
) -> WordCheck:
    """Read what the chip and the float model heard, and count the errors of both.

    Raises
    ------
    InputError
        If a symbol has no unit.
    """
    heard, by_float = (_texts(reading, source) for source in (outputs, wanted))
    return WordCheck(
        tuple(
            HeardUtterance(
                utterance.name,
                text,
                float_text,
                utterance.text,
                _errors(utterance.text, text),
                _errors(utterance.text, float_text),
            )
            for utterance, text, float_text in zip(reading.utterances, heard, by_float, strict=True)
        )
    )


def _texts(reading: Reading, outputs: Mapping[str, np.ndarray]) -> list[str]:
    found = symbols_of(reading, outputs)
    for symbols in found:
        wrong = [symbol for symbol in symbols if not 0 <= symbol < len(reading.units)]
        if wrong:
            raise InputError(
                f"$.transcript.units: symbol {wrong[0]} of output '{reading.symbols}' has no unit, "
                f"found {len(reading.units)} units"
            )
    return [reading.text(symbols) for symbols in found]


def _errors(said: str | None, heard: str) -> WordErrors | None:
    return None if said is None else word_errors(said.split(), heard.split())
