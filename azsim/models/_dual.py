"""The chunked (dual) form of state-space duality: matrix products over Q tokens at a time.

With a = dt A of a chunk's tokens, c its running sum and X = dt x, for each head::

    L[i, j] = exp(c[i] - c[j]) for j <= i, else 0
    Y = (L o C B^T) X + exp(c) o (C S)
    S = exp(c[Q - 1]) S + (exp(c[Q - 1] - c) o B)^T X

where S (N, P) is the state.  Source: ``ssd_minimal.py`` of github.com/state-spaces/mamba.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from azsim.models._network import Network

__all__ = ["chunked_scan"]


class _Sizes(Protocol):
    """What the form needs of a builder's parameters."""

    @property
    def heads(self) -> int: ...
    @property
    def n_groups(self) -> int: ...
    @property
    def d_state(self) -> int: ...
    @property
    def head_dim(self) -> int: ...
    @property
    def chunk_length(self) -> int | None: ...


def chunked_scan(
    net: Network, p: _Sizes, steps: int, c: str, b: str, values: str, decay: str
) -> str:
    """Outputs (steps, H, P) from C and B (steps, G N), values (steps, H, P), decays (steps, H)."""
    length = p.chunk_length or steps
    count = steps // length
    past = state = net.state("state", (p.n_groups, p.heads // p.n_groups, p.d_state, p.head_dim))
    parts = [_parts(net, tensor, count) for tensor in (c, b, values, decay)]
    lower = net.constant(np.tril(np.ones((length, length), np.float32)), "causal")
    results = []
    for number, (queries, keys, own, decays) in enumerate(zip(*parts, strict=True)):
        with net.scope(f"chunk.{number}") if count > 1 else net.scope("chunk"):
            y, state = _chunk(net, p, length, queries, keys, own, decays, lower, state)
            results.append(y)
    net.update(past, state)
    return results[0] if count == 1 else net.node("Concat", *results, axis=0, name="chunks")


def _parts(net: Network, tensor: str, count: int) -> tuple[str, ...]:
    if count == 1:
        return (tensor,)
    return net.node("Split", tensor, outputs=count, axis=0, num_outputs=count, name="chunk_split")


def _chunk(
    net: Network, p: _Sizes, q: int, c: str, b: str, values: str, decay: str, lower: str, state: str
) -> tuple[str, str]:
    """Outputs (q, H, P) and the new state (G, H / G, N, P) of one chunk.

    Axes are in the order group, head in the group, then those of a matrix.
    """
    g, each, n, width = p.n_groups, p.heads // p.n_groups, p.d_state, p.head_dim
    shared = (q, g, 1, n)
    queries = net.node("Transpose", net.reshape(c, shared, "c"), perm=(1, 2, 0, 3), name="queries")
    keys = net.node("Transpose", net.reshape(b, shared, "b"), perm=(1, 2, 3, 0), name="keys")
    x = net.reshape(values, (q, g, each, width), "values.group")
    x = net.node("Transpose", x, perm=(1, 2, 0, 3), name="values")
    total = net.node("CumSum", decay, net.constant(0, "tokens"), name="sums")
    total = net.node("Transpose", total, perm=(1, 0), name="sums.heads")
    down = net.reshape(total, (g, each, q, 1), "sums.column")
    across = net.reshape(total, (g, each, 1, q), "sums.row")
    last = _last(net, across, q)

    gaps = net.node("Sub", down, across, name="gaps")
    gaps = net.node("Min", gaps, net.constant(np.float32(0), "zero"), name="gaps.past")
    mask = net.node("Mul", net.node("Exp", gaps, name="fading"), lower, name="mask")
    scores = net.node("MatMul", queries, keys, name="scores")
    inside = net.node("MatMul", net.node("Mul", mask, scores, name="weights"), x, name="inside")
    shape = net.constant([g, each, q, n], "queries.shape")
    asked = net.node("Expand", queries, shape, name="queries.heads")
    carried = net.node("MatMul", asked, state, name="carried")
    fades = net.node("Exp", down, name="fades")
    y = net.node("Add", inside, net.node("Mul", carried, fades, name="faded"), name="y")

    rest = net.node("Exp", net.node("Sub", last, across, name="rest.gaps"), name="rest")
    written = net.node("Mul", keys, rest, name="keys.heads")
    added = net.node("MatMul", written, x, name="added")
    kept = net.node("Mul", state, net.node("Exp", last, name="kept.factor"), name="kept")
    new = net.node("Add", kept, added, name="new_state")
    y = net.node("Transpose", y, perm=(2, 0, 1, 3), name="y.tokens")
    return net.reshape(y, (q, g * each, width), "y.heads"), new


def _last(net: Network, across: str, q: int) -> str:
    """Last of the running sums (..., 1, q), as (..., 1, 1)."""
    bounds = (net.constant([value], "last.bound") for value in (q - 1, q, 3))
    return net.node("Slice", across, *bounds, name="last")
