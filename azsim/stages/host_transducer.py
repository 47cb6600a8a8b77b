"""The recogniser on the host: greedy decoding of the uncompressed float model, in plain numpy.

Written from the definitions of an LSTM and of a transducer (Graves, 2012), not from azsim's
operators, so that what the chip hears can be compared with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Heard", "greedy"]


@dataclass(frozen=True)
class Heard:
    """What was decoded.

    Attributes
    ----------
    symbols : tuple of int
    margin : float
        By how much, of all decisions, the best symbol was ahead of the second one at the closest;
        an error of the outputs that is smaller than half of it cannot change a symbol.
    """

    symbols: tuple[int, ...]
    margin: float


class _Lstm:
    """A layer with ONNX's weights, gates in the order input, output, forget, cell."""

    def __init__(self, weights: Mapping[str, np.ndarray], name: str, dtype: type) -> None:
        self._inputs, self._recurrent = (weights[f"{name}.{key}"][0].astype(dtype) for key in "WR")
        self.cells = self._recurrent.shape[1]
        self._bias = weights[f"{name}.B"][0].reshape(2, -1).astype(dtype).sum(axis=0)
        self.start = np.zeros(self.cells, dtype), np.zeros(self.cells, dtype)

    def step(
        self, x: np.ndarray, state: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """State (h, c) after one more input."""
        return self._advance(self._inputs @ x + self._bias, state)

    def run(self, data: np.ndarray) -> np.ndarray:
        """Results (steps, cells) for inputs (steps, width), from the start."""
        sums = data @ self._inputs.T + self._bias
        state, results = self.start, np.empty((len(data), self.cells), sums.dtype)
        for number, row in enumerate(sums):
            state = self._advance(row, state)
            results[number] = state[0]
        return results

    def _advance(
        self, sums: np.ndarray, state: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        h, c = state
        gates = sums + self._recurrent @ h
        into, out, forget = 1 / (1 + np.exp(-gates[: 3 * self.cells].reshape(3, -1)))
        c = forget * c + into * np.tanh(gates[3 * self.cells :])
        return out * np.tanh(c), c


def greedy(
    weights: Mapping[str, np.ndarray],
    features: Iterable[np.ndarray],
    max_symbols: int,
    stack: int = 2,
    dtype: type = np.float64,
) -> list[Heard]:
    """Decode utterances with a model of the form of ``rnnt_mlperf``.

    Parameters
    ----------
    weights : mapping of str to ndarray
        Tensors by the builder's names.
    features : iterable of ndarray of shape (frames, features)
        One array an utterance; zeros follow where it is no whole number of stacks.
    max_symbols : int
        That a frame gives at most.
    stack : int
        Feature frames that are joined to one frame.
    dtype : type
        In which everything is computed.

    Returns
    -------
    list of Heard
    """
    pre, post, predicting = (
        [_Lstm(weights, f"{part}.{number}", dtype) for number in range(_count(weights, part))]
        for part in ("encoder.pre", "encoder.post", "prediction")
    )
    own = {name: array.astype(dtype) for name, array in weights.items()}
    found = []
    for rows in features:
        data = np.zeros((-(-len(rows) // stack) * stack, rows.shape[1]), dtype)
        data[: len(rows)] = rows
        for layer in pre:
            data = layer.run(data)
        data = data.reshape(-1, stack * data.shape[1])
        for layer in post:
            data = layer.run(data)
        frames = data @ own["joint.encoder.W"].T + own["joint.encoder.b"]
        found.append(_decode(frames, own, predicting, max_symbols))
    return found


def _count(weights: Mapping[str, np.ndarray], part: str) -> int:
    return sum(name.startswith(f"{part}.") and name.endswith(".W") for name in weights)


def _decode(
    frames: np.ndarray, weights: Mapping[str, np.ndarray], layers: list[_Lstm], max_symbols: int
) -> Heard:
    """Frame by frame the best symbol, until that is the blank or the frame has given enough."""
    embedding, output = weights["prediction.embedding"], weights["joint.output.W"]
    blank, margin = len(output) - 1, np.inf
    states = [layer.start for layer in layers]

    def predicted(x: np.ndarray) -> np.ndarray:
        for number, layer in enumerate(layers):
            states[number] = layer.step(x, states[number])
            x = states[number][0]
        return weights["joint.prediction.W"] @ x

    half = predicted(np.zeros(embedding.shape[1], embedding.dtype))
    symbols: list[int] = []
    for frame in frames:
        for _ in range(max_symbols):
            scores = output @ np.maximum(frame + half, 0) + weights["joint.output.b"]
            second, first = np.partition(scores, -2)[-2:]
            margin = min(margin, float(first - second))
            symbol = int(scores.argmax())
            if symbol == blank:
                break
            symbols.append(symbol)
            half = predicted(embedding[symbol])
    return Heard(tuple(symbols), margin)
