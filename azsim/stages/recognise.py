"""Recognise: what the chip hears in many utterances, bit for bit, and not how long it takes.

For studies of accuracy: a compressed model is compiled once, and its program is executed, without
the clock, on as many frames at a time as fit a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from azsim.compiler.compile import Compiled, compile_graph
from azsim.errors import InputError, unknown
from azsim.frontend.workload import Workload
from azsim.hardware import load_hardware
from azsim.hardware.description import Hardware
from azsim.isa.program import WAKE, Stream
from azsim.models import Model
from azsim.sim.execute import execute
from azsim.sim.statistics import Chunks
from azsim.stages.model import load_model
from azsim.stages.prepare import compress_model, wakes
from azsim.stages.transcribe import symbols_of_parts

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

    Raises
    ------
    InputError
        If the model hears no stream, or gives no symbols.
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
        outputs = self._model.graph.outputs
        if missing := [name for name in (self._symbols, self._counts) if name not in outputs]:
            sentences = [unknown("graph output", name, outputs) for name in missing]
            raise InputError("\n".join(f"{workload.name}: {sentence}" for sentence in sentences))
        self._chunk_frames = workload.stream.chunk_frames if workload.stream else 1
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
        for batch in self._batches(features):
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

    def _num_chunks(self, rows: np.ndarray) -> int:
        return -(-len(rows) // self._shape[0])

    def _num_frames(self, rows: np.ndarray) -> int:
        """Frames of which the utterance has a part."""
        return -(-len(rows) * self._chunk_frames // self._shape[0])

    def _batches(self, utterances: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
        """Utterances in order, as many at a time as fit; a longer one is a batch of its own."""
        batch: list[np.ndarray] = []
        count = 0
        for rows in utterances:
            chunks = self._num_chunks(rows)
            if batch and count + chunks > self._batch_chunks:
                yield batch
                batch, count = [], 0
            batch.append(rows)
            count += chunks
        if batch:
            yield batch

    def _heard(self, batch: Sequence[np.ndarray]) -> list[list[int]]:
        lengths = [self._num_chunks(rows) for rows in batch]
        count = sum(lengths)
        size = max(count, self._batch_chunks)  # zeros follow the last utterance
        chunks = np.zeros((size, *self._shape), np.float32)
        for begin, length, rows in zip(np.cumsum([0, *lengths]), lengths, batch, strict=False):
            own = chunks[begin : begin + length].reshape(-1, self._shape[1])
            own[: len(rows)] = rows  # zeros fill up the last chunk
        flags = np.zeros((size, 1), np.int32)
        flags[:count] = wakes(lengths)
        compiled = self._compile(size)
        inputs: Mapping[str, np.ndarray] = {
            self._input: chunks,
            WAKE: flags,
            **self._model.initial_state,
        }
        program, image = compiled.program, compiled.image
        outputs = execute(program, image, self._hardware, inputs=inputs, traced=False).outputs
        frames = tuple(self._num_frames(rows) for rows in batch)
        return symbols_of_parts(
            outputs[self._symbols][:count],
            outputs[self._counts][:count],
            Chunks(sum(frames), self._chunk_frames, frames),
        )

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
