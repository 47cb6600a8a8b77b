"""What a builder hands over: a graph, how it streams, and its counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from azsim.ir import Graph

__all__ = ["Model"]

_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Model:
    """A graph of one chunk, and how chunks follow each other.

    Attributes
    ----------
    graph : Graph
        What is computed from one chunk of inputs and the state before it.
    time_axis : mapping of str to int
        Axis along which time runs, for each graph input that has one.
    state : mapping of str to str
        Carried tensors: graph input to graph output.
    initial_state : mapping of str to ndarray
        Value of every input in `state` before the first chunk.
    chunk_period_s : float or None
        Time that one chunk of input takes; None where nothing says so.
    features : str
        Kind of audio features that the input with a time axis takes; empty for none.
    num_parameters : int
        Elements of all trained tensors.
    num_matrix_weights : int
        Those of them in weight matrices, kernels and embeddings: all but biases, norms and the
        like.
    max_chunks : int or None
        How long a stream may be, such as one whose positions are a table; None: as long as it is.
    below : mapping of str to int
        Inputs that hold whole numbers, such as tokens: each is from 0 to below that.
    macs : mapping of str to int
        Multiply-accumulates of the dense shapes, by what they are spent on, such as ``chunk``.
    """

    graph: Graph
    time_axis: Mapping[str, int] = field(default_factory=lambda: _NONE)
    state: Mapping[str, str] = field(default_factory=lambda: _NONE)
    initial_state: Mapping[str, np.ndarray] = field(default_factory=lambda: _NONE)
    chunk_period_s: float | None = None
    features: str = ""
    max_chunks: int | None = None
    num_parameters: int = 0
    num_matrix_weights: int = 0
    macs: Mapping[str, int] = field(default_factory=lambda: _NONE)
    below: Mapping[str, int] = field(default_factory=lambda: _NONE)
