"""Lower: every operator as steps over windows into named buffers.

Contract: takes a compressed graph, gives the steps of one frame in an order in which everything is
written before it is read; graph inputs, and every tensor that exists on the chip, have a view.
Each operator's file says how it is lowered (`azsim.ops`).  There is no step for a slice, transpose
or reshape that strides can express, and a recurrent cell multiplies the inputs of all its steps
before its loop over time, so that one reading of the weights serves them all.

Sums fit int32: `azsim.compression.compress` has split K where the codes could overflow it, and
each segment drains into float32 on its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from azsim.ir import CompressedGraph
from azsim.ops.build import lower_graph
from azsim.ops.lowering import Lowering

__all__ = ["lower"]


def lower(compressed: CompressedGraph, state: Mapping[str, str] | None = None) -> Lowering:
    """Lower every node.

    Parameters
    ----------
    compressed : CompressedGraph
    state : mapping of str to str, optional
        Carried tensors, graph input to graph output: an operator may say how they lie in memory.

    Raises
    ------
    UnsupportedError
        If an operator cannot be lowered.
    """
    return lower_graph(compressed, state)
