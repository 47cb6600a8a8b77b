"""Codec tables for the terminal, and as CSV."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Mapping, Sequence

from azsim.report.listing import Cell, Listing, listing
from azsim.report.units import counted, number
from azsim.survey.codec_table import CodecFigures, records

__all__ = ["codec_csv", "codec_listings"]

_COLUMNS = (
    "codec",
    "bytes",
    "bits/w.",
    "over H0",
    "w./cycle",
    "bound by",
    "encode, Mw/s",
    "decode, Mw/s",
)
_COST_COLUMNS = (
    "codec",
    "bytes",
    "bits/w.",
    "over H0",
    "w./cycle",
    "tables",
    "registers",
    "muxes",
    "adders",
    "comp.",
    "on chip",
)
_SIZES = ("table_bits", "register_bits", "multiplexers", "adders", "comparators")


def codec_listings(
    rows: Sequence[CodecFigures], hardware: str, skipped: Mapping[str, str] | None = None
) -> list[Listing]:
    """One table a tensor, and one over all of them with the hardware of the decoders.

    Parameters
    ----------
    rows : sequence of CodecFigures
        Tensor after tensor.
    hardware : str
        Name of the chip that cycles are of.
    skipped : mapping of str to str, optional
        Why a tensor was left out.
    """
    tables = [
        _tensor_table(list(group))
        for _, group in itertools.groupby(rows, key=lambda row: row.tensor)
    ]
    tables.append(_all_table(rows, hardware, skipped or {}))
    return tables


def _tensor_table(rows: Sequence[CodecFigures]) -> Listing:
    first = rows[0]
    title = (
        f"{first.tensor}: {number(first.weights)} x {first.bits} bit, "
        f"{100 * first.zeros:.1f} % zeros, H0 {first.entropy_bits:.3f} bits"
    )
    refusals = [f"{row.codec} refuses it: {row.refused}" for row in rows if row.refused]
    return listing(title, _COLUMNS, [_cells(row) for row in rows], "\n".join(refusals))


def _cells(row: CodecFigures) -> list[Cell]:
    if row.bits_per_weight is None or row.decode_weights_per_cycle is None:
        return [row.codec, *[None] * (len(_COLUMNS) - 1)]
    return [
        row.codec,
        row.encoded_bytes,
        round(row.bits_per_weight, 3),
        round(row.bits_per_weight - row.entropy_bits, 3),
        round(row.decode_weights_per_cycle, 2),
        row.bound_by,
        _millions(row.encode_weights_per_s),
        _millions(row.decode_weights_per_s),
    ]


def _millions(rate: float | None) -> float | None:
    return None if rate is None else round(rate / 1e6, 1)


def _all_table(rows: Sequence[CodecFigures], hardware: str, skipped: Mapping[str, str]) -> Listing:
    tensors = len({row.tensor for row in rows})
    by_codec: dict[str, list[CodecFigures]] = {}
    for row in rows:
        by_codec.setdefault(row.codec, []).append(row)
    notes = [
        (
            "over H0: bits per weight above the order-0 entropy of the codes; w./cycle: weights "
            "over the cycles of the decoder (lanes, bus and write port) or DRAM, the more"
        ),
        (
            "tables and registers (bits), muxes (2:1, one bit), adders and comparators (up to 16 "
            "bits): rough size of a decoder with all its lanes, the largest of all tensors"
        ),
    ]
    if skipped:
        named = ", ".join(f"{name} ({reason})" for name, reason in skipped.items())
        notes.append(f"Skipped: {named}")
    title = f"{counted(tensors, 'tensor')} on {hardware}"
    cells = [_total(codec, group) for codec, group in by_codec.items()]
    return listing(title, _COST_COLUMNS, cells, "\n".join(notes))


def _total(codec: str, group: Sequence[CodecFigures]) -> list[Cell]:
    taken = [row for row in group if row.encoded_bytes is not None]
    refused = f"; refuses {len(group) - len(taken)}" if len(taken) < len(group) else ""
    on_chip = ("yes" if group[0].on_chip else "no") + refused
    if not taken:
        return [codec, *[None] * (len(_COST_COLUMNS) - 2), on_chip]
    weights = sum(row.weights for row in taken)
    num_bytes = sum(row.encoded_bytes or 0 for row in taken)
    entropy = sum(row.entropy_bits * row.weights for row in taken) / weights
    cycles = sum(row.weights / (row.decode_weights_per_cycle or 1) for row in taken)
    costs = [row.cost for row in taken if row.cost is not None]
    return [
        codec,
        num_bytes,
        round(8 * num_bytes / weights, 3),
        round(8 * num_bytes / weights - entropy, 3),
        round(weights / cycles, 2),
        *(max(getattr(cost, key) for cost in costs) for key in _SIZES),
        on_chip,
    ]


def codec_csv(rows: Iterable[CodecFigures]) -> str:
    """One line a codec and tensor, with the keys of the JSON."""
    entries = records(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(entries[0]) if entries else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(entries)
    return text.getvalue()
