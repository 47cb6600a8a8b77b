"""Recognise: what the chip hears in many utterances, bit for bit, and not how long it takes.

For studies of accuracy: a compressed model is compiled once, and its program is executed, without
the clock, on as many frames at a time as fit a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from azsim.compiler.compile import Compiled, compile_graph
from azsim.errors import InputError
from azsim.frontend.workload import Workload
from azsim.hardware import load_hardware
from azsim.hardware.description import Hardware
from azsim.isa.program import WAKE, Stream
from azsim.models import Model
from azsim.sim.execute import execute
from azsim.stages.model import load_model
from azsim.stages.prepare import compress_model, wakes

__all__ = ["Recogniser", "recognise"]

_BATCH_CHUNKS = 4096


class Recogniser:
    """A compressed and compiled model that hears utterances.

    Parameters
    ----------
    workload : Workload
        Model, compression and chip; its input is not looked at.
    hardware : Hardware, optional
        Another chip; which one changes no symbol.
    batch_chunks : int
        Chunks that one execution of the program takes.
    """

    def __init__(
        self,
        workload: Workload,
        hardware: Hardware | None = None,
        batch_chunks: int = _BATCH_CHUNKS,
    ) -> None:
        self._hardware = hardware or load_hardware(workload.hardware_reference)
        self._batch_chunks = max(2, batch_chunks)
        self._model: Model = load_model(workload)
        self._name = workload.name
        names = list(self._model.time_axis)
        if len(names) != 1 or self._model.time_axis[names[0]] != 0:
            found = ", ".join(names) or "none"
            raise InputError(f"{workload.name}: one input with time on axis 0, found {found}")
        self._input = names[0]
        transcript = workload.transcript
        self._symbols = transcript.symbols if transcript else "symbols"
        self._counts = transcript.counts if transcript else "counts"
        self._compressed = compress_model(workload, self._model)
        self._compiled: dict[int, Compiled] = {}

    def symbols(self, features: Sequence[np.ndarray]) -> list[list[int]]:
        """What is heard in each utterance.

        Parameters
        ----------
        features : sequence of ndarray of shape (frames, features), float32

        Returns
        -------
        list of list of int

        Raises
        ------
        InputError
            If an array is not of that form, or empty.
        """
        self._check(features)
        found: list[list[int]] = []
        for batch in self._batches([self._chunks(rows) for rows in features]):
            found += self._heard(batch)
        return found

    @property
    def _shape(self) -> tuple[int, ...]:
        return self._model.graph.inputs[self._input].shape

    def _check(self, features: Sequence[np.ndarray]) -> None:
        width = self._shape[1]
        problems = [
            f"utterance {number}: found {rows.dtype}{list(rows.shape)}, "
            f"allowed: float32[frames, {width}]"
            for number, rows in enumerate(features)
            if rows.dtype != np.float32 or rows.shape[1:] != (width,) or not len(rows)
        ]
        if problems:
            raise InputError("\n".join(problems))

    def _chunks(self, rows: np.ndarray) -> np.ndarray:
        """Chunks of an utterance; zeros fill up the last one."""
        length, width = self._shape
        count = -(-len(rows) // length)
        chunks = np.zeros((count, length, width), np.float32)
        chunks.reshape(-1, width)[: len(rows)] = rows
        return chunks

    def _batches(self, utterances: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
        """Utterances in order, as many at a time as fit; a longer one is a batch of its own."""
        batch: list[np.ndarray] = []
        count = 0
        for chunks in utterances:
            if batch and count + len(chunks) > self._batch_chunks:
                yield batch
                batch, count = [], 0
            batch.append(chunks)
            count += len(chunks)
        if batch:
            yield batch

    def _heard(self, batch: Sequence[np.ndarray]) -> list[list[int]]:
        lengths = [len(chunks) for chunks in batch]
        size = max(sum(lengths), self._batch_chunks)  # zeros follow the last utterance
        frames = np.zeros((size, *self._shape), np.float32)
        frames[: sum(lengths)] = np.concatenate(batch)
        flags = np.zeros((size, 1), np.int32)
        flags[: sum(lengths)] = wakes(lengths)
        compiled = self._compile(size)
        inputs: Mapping[str, np.ndarray] = {
            self._input: frames,
            WAKE: flags,
            **self._model.initial_state,
        }
        outputs = execute(compiled.program, compiled.image, self._hardware, inputs=inputs).outputs
        symbols, counts = outputs[self._symbols], outputs[self._counts]
        width = symbols.shape[-1]
        heard, begin = [], 0
        for length in lengths:
            own = slice(begin, begin + length)
            begin += length
            rows = zip(symbols[own].reshape(-1, width), counts[own].reshape(-1), strict=True)
            heard.append([int(symbol) for row, count in rows for symbol in row[:count]])
        return heard

    def _compile(self, chunks: int) -> Compiled:
        """The program for so many chunks; lengths of utterances are data."""
        if chunks not in self._compiled:
            stream = Stream(frames=chunks, period_s=None, paced=False)
            self._compiled[chunks] = compile_graph(
                self._compressed,
                self._hardware,
                stream,
                self._model.state,
                self._name,
                utterances=2,
            )
        return self._compiled[chunks]


def recognise(
    workload: Workload, features: Sequence[np.ndarray], hardware: Hardware | None = None
) -> list[list[int]]:
    """Give the symbols that the chip hears in each utterance; see `Recogniser`."""
    frames = sum(len(rows) for rows in features)
    return Recogniser(workload, hardware, min(frames, _BATCH_CHUNKS)).symbols(features)
