"""Causal attention over a window of past tokens, which a ring of keys and values holds.

A chunk's new keys and values go into the ring first; each of its tokens then attends to those that
its window reaches back to (`azsim.ops.ring_window`).  The ring holds ``window + chunk - 1`` tokens
at least, so that nothing is overwritten that the chunk's first token still needs.

Keys and values are quantized with a scale for each token and head.  A ring of int8 holds these
codes, one of float32 the values, which become the same codes each time that they are used: both
give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from azsim.models._network import Network

__all__ = ["Attention", "Cache", "Ring", "new_ring", "ring_conflicts", "rotary_tables"]

Cache = Literal["int8", "float32"]


@dataclass(frozen=True)
class Ring:
    """Where the tokens of a chunk go in all rings, and whom they attend to.

    Attributes
    ----------
    rows : int
        Tokens of a chunk.
    length : int
        Places of a ring.
    mask, first, positions, ages : str
        Tensors: (rows, length) added to scores, (1) place of the first token, (rows) numbers,
        (rows, length) how long ago what is at a place was written, as far as the window goes.
    """

    rows: int
    length: int
    mask: str
    first: str
    positions: str
    ages: str = ""


def new_ring(net: Network, rows: int, window: int, length: int, *, with_ages: bool = False) -> Ring:
    """Count tokens and places from chunk to chunk."""
    position, place = net.state("position", (1,)), net.state("place", (1,))
    mask, positions, first, next_position, next_place, *ages = net.node(
        "RingWindow",
        position,
        place,
        outputs=6 if with_ages else 5,
        name="window",
        rows=rows,
        length=length,
        window=window,
    )
    net.update(position, next_position)
    net.update(place, next_place)
    return Ring(rows, length, mask, first, positions, *ages)


def ring_conflicts(length: int, window: int, chunk_frames: int) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the parameter `cache_length`; 0 stands for the least."""
    least = window + chunk_frames - 1
    if length and length < least:
        yield (
            "cache_length",
            (
                f"found {length}, allowed: at least {least} for a window of {window} and "
                f"chunks of {chunk_frames}, or 0"
            ),
        )


def rotary_tables(net: Network, positions: int, head_size: int, base: float) -> tuple[str, str]:
    """Cosines and sines of all positions: pair i turns by ``base**(-2 i / head_size)`` a token."""
    rates = base ** (-np.arange(0, head_size, 2) / head_size)
    angles = np.arange(positions)[:, None] * rates
    cosines, sines = (np.asarray(f(angles), np.float32) for f in (np.cos, np.sin))
    return net.constant(cosines, "rotary.cos"), net.constant(sines, "rotary.sin")


@dataclass(frozen=True)
class Attention:
    """Attention of `heads` query heads, of which groups share `kv_heads` keys and values.

    Attributes
    ----------
    heads, kv_heads, head_size : int
    cache : str
        Element type of the rings.
    """

    heads: int
    kv_heads: int
    head_size: int
    cache: Cache

    @property
    def kv_size(self) -> int:
        """Columns of all keys, and of all values."""
        return self.kv_heads * self.head_size

    def attend(
        self, net: Network, ring: Ring, queries: str, keys: str, values: str, added: str = ""
    ) -> str:
        """Attend from a chunk's queries to the ring with its keys and values in it.

        Parameters
        ----------
        net : Network
        ring : Ring
        queries : str
            (..., rows * heads * head_size elements), not scaled yet.
        keys, values : str
            Of rows * kv_heads * head_size elements.
        added : str
            (kv_heads, heads / kv_heads, rows, length), added to the scores, or nothing.

        Returns
        -------
        str
            (rows, heads * head_size).
        """
        group = self.heads // self.kv_heads
        scaled = net.node(
            "Mul", queries, net.constant(self.head_size**-0.5, "scale"), name="scaled"
        )
        split = net.reshape(scaled, (ring.rows, self.kv_heads, group, self.head_size), "queries")
        rows = net.node("Transpose", split, perm=(1, 2, 0, 3))
        key_codes, key_scales = self._cached(net, ring, "keys", keys)
        value_codes, value_scales = self._cached(net, ring, "values", values)
        columns = net.node("Transpose", key_codes, perm=(1, 2, 3, 0))
        scores = net.node("MatMulCodes", rows, columns, key_scales, name="scores")
        if added:
            scores = net.node("Add", scores, added, name="scores_and")
        masked = net.node("Add", scores, ring.mask, name="masked")
        weights = net.node("Softmax", masked, name="weights", axis=-1)
        weighted = net.node("Mul", weights, value_scales, name="weighted")
        stacked = net.node("Transpose", value_codes, perm=(1, 2, 0, 3))
        sums = net.node("MatMulCodes", weighted, stacked, name="sums")
        return net.reshape(
            net.node("Transpose", sums, perm=(2, 0, 1, 3)),
            (ring.rows, self.heads * self.head_size),
            "joined",
        )

    def _cached(self, net: Network, ring: Ring, name: str, new: str) -> tuple[str, str]:
        """Codes (places, kv_heads, 1, head_size) and scales (kv_heads, 1, 1, places) of a ring."""
        by_head = (self.kv_heads, self.head_size)
        if self.cache == "int8":
            split = net.reshape(new, (ring.rows, *by_head), f"{name}.new")
            codes, scales = net.node("QuantizeRows", split, outputs=2, name=f"{name}.codes")
            codes = self._written(net, ring, f"{name}.cache", codes, self.kv_size, "int8")
            scales = self._written(net, ring, f"{name}.scales", scales, self.kv_heads, "float32")
        else:
            held = self._written(net, ring, f"{name}.cache", new, self.kv_size, "float32")
            split = net.reshape(held, (ring.length, *by_head), f"{name}.held")
            codes, scales = net.node("QuantizeRows", split, outputs=2, name=f"{name}.codes")
        codes = net.reshape(codes, (ring.length, self.kv_heads, 1, self.head_size), name)
        scales = net.reshape(scales, (ring.length, self.kv_heads, 1, 1), f"{name}.by_head")
        return codes, net.node("Transpose", scales, perm=(1, 2, 3, 0))

    def _written(
        self, net: Network, ring: Ring, name: str, rows: str, size: int, dtype: str
    ) -> str:
        """Put a chunk's rows into a ring of their own."""
        past = net.state(name, (1, ring.length, size), dtype=dtype)
        update = net.reshape(rows, (1, ring.rows, size), f"{name}.update")
        present = net.node(
            "TensorScatter", past, update, ring.first, name=f"{name}.write", axis=1, mode="circular"
        )
        net.update(past, present)
        return present

    def macs(self, places: int) -> int:
        """Products of one query token with keys and values, those that are masked too."""
        return 2 * places * math.prod((self.heads, self.head_size))
