"""What ``azsim run --explain`` shows: reasons and what would help, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from azsim.report.listing import Listing, listing
from azsim.report.units import byte_count, number, percent
from azsim.sim.explanation import Explanation, LayerLimit, TensorPlace, Variant, WeightRoom

__all__ = ["explanation_document", "explanation_from", "explanation_tables"]

_STALLS_SHOWN = 2


def explanation_document(explanation: Explanation) -> dict[str, object]:
    """Return it as JSON has it; of each variant also how much faster the run is."""
    document = asdict(explanation)
    for entry, variant in zip(document["variants"], explanation.variants, strict=True):
        entry["cycles"] = variant.cycles
        entry["faster_percent"] = _faster(explanation.cycles, variant.cycles)
    return document


def explanation_from(document: Mapping[str, Any]) -> Explanation:
    """Return what `explanation_document` was made of.

    Parameters
    ----------
    document : mapping
        As `explanation_document` gives it, through JSON or not.
    """
    known = {entry.name for entry in fields(Variant)}
    variants = [{k: v for k, v in entry.items() if k in known} for entry in document["variants"]]
    return Explanation(
        cycles=document["cycles"],
        room=WeightRoom(**document["room"]),
        tensors=tuple(TensorPlace(**entry) for entry in document["tensors"]),
        layers=tuple(LayerLimit(**entry) for entry in document["layers"]),
        variants=tuple(Variant(**entry) for entry in variants),
    )


def explanation_tables(explanation: Explanation) -> list[Listing]:
    """Tables for the terminal and the page."""
    tensors = explanation.tensors
    factor_of = {variant.key: variant.factor for variant in explanation.variants}
    return [
        listing(
            "Why weights are pinned or streamed",
            ("tensor", "why"),
            [(tensor.name, tensor.why) for tensor in tensors],
            _room(explanation.room),
        ),
        listing(
            "Why these tiles",
            ("tensor", "rows x columns of a tile, and what set them"),
            [(tensor.name, tensor.tile_why) for tensor in tensors],
        ),
        listing(
            "What limits the layers",
            ("layer", "cycles", "limit", "its engine stood still", "helps most"),
            [_layer(layer, factor_of) for layer in explanation.layers],
            "limit: the largest lower bound, and how many times that the layer takes; overlap: it "
            "takes less, as its work ran before the layer before was over",
        ),
        listing(
            "What would help",
            ("change", "same program, cycles", "faster", "planned anew, cycles", "faster "),
            [_variant(variant, explanation.cycles) for variant in explanation.variants],
            f"measured: the run of {number(explanation.cycles)} cycles, timed again",
        ),
    ]


def _room(room: WeightRoom) -> str:
    return (
        f"weight SRAM of {byte_count(room.capacity_bytes)}: scales and biases "
        f"{number(room.parameter_bytes)}, slots {number(room.slot_bytes)}, pinned "
        f"{number(room.pinned_bytes)}, held in loops {number(room.held_bytes)}, free "
        f"{number(room.free_bytes)}; "
        f"all weights pinned would take {number(room.all_bytes)}"
    )


def _layer(layer: LayerLimit, factor_of: Mapping[str, float]) -> tuple[str, int, str, str, str]:
    bound, limit = layer.bound_cycles, ""
    if bound:
        distance = f" {layer.cycles / bound:.2f} x" if layer.cycles >= bound else ", overlap"
        limit = f"{layer.engine}{distance}"
    shown = [entry for entry in layer.stalls.items() if entry[0] != "no_work"][:_STALLS_SHOWN]
    stalls = ", ".join(f"{name.replace('_', ' ')} {number(n)}" for name, n in shown)
    helps = ""
    if layer.helps:
        fewer = percent(layer.cycles - layer.helped_cycles, layer.cycles)
        helps = f"{layer.helps} x {factor_of[layer.helps]:g}: {fewer} fewer"
    return layer.name, layer.cycles, limit, stalls, helps


def _variant(variant: Variant, cycles: int) -> tuple[str, int | None, str, int | None, str]:
    return (
        f"{variant.key} x {variant.factor:g}",
        variant.replayed_cycles,
        _signed(_faster(cycles, variant.replayed_cycles)),
        variant.planned_cycles,
        _signed(_faster(cycles, variant.planned_cycles)),
    )


def _faster(cycles: int, other: int | None) -> float | None:
    return None if not other else 100 * (cycles / other - 1)


def _signed(share: float | None) -> str:
    return "" if share is None else f"{share:+.1f} %".replace("-0.0", "+0.0")
