"""Why a run takes as long as it does: what ``azsim run --explain`` shows, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Explanation", "LayerLimit", "TensorPlace", "Variant", "WeightRoom"]


@dataclass(frozen=True)
class WeightRoom:
    """What weight SRAM holds.

    Attributes
    ----------
    capacity_bytes : int
    parameter_bytes : int
        Scales and biases.
    slot_bytes : int
        All slots for streamed tiles together.
    pinned_bytes : int
    held_bytes : int
        Most that stays during one loop.
    free_bytes : int
    all_bytes : int
        With every weight pinned.
    """

    capacity_bytes: int
    parameter_bytes: int
    slot_bytes: int
    pinned_bytes: int
    held_bytes: int
    free_bytes: int
    all_bytes: int


@dataclass(frozen=True)
class TensorPlace:
    """Why a weight tensor is pinned or streamed, and why its tiles are as they are.

    Attributes
    ----------
    name : str
    tiles, pinned_tiles, held_tiles : int
        All; those that stay for good; those that stay during the loop that uses them.
    pinned_bytes, held_bytes, streamed_bytes : int
        Of its tiles in weight SRAM.
    uses : int
        How often in the run its tiles come round: a tile that is not pinned is loaded each time.
    read_bytes : int
        Blocks of its tiles that the run reads from DRAM.
    saved_bytes : int
        What its tiles that stay save of that.
    saved_per_byte : float
        What a byte of weight SRAM saves over the run, for this tensor's tiles.
    missing_bytes : int
        What weight SRAM lacks for all of it, were everything else to stay; 0 if it is pinned.
    why, tile_why : str
        Sentences.
    """

    name: str
    tiles: int
    pinned_tiles: int
    held_tiles: int
    pinned_bytes: int
    held_bytes: int
    streamed_bytes: int
    uses: int
    read_bytes: int
    saved_bytes: int
    saved_per_byte: float
    missing_bytes: int
    why: str
    tile_why: str


@dataclass(frozen=True)
class LayerLimit:
    """What limits a layer.

    Attributes
    ----------
    name : str
    cycles : int
    engine : str
        Whose lower bound is the largest, or ``path`` for the longest chain of dependent work.
    bound_cycles : int
    stalls : mapping of str to int
        Cycles that the engine (of ``path``: the one that was busiest) stood still ahead of this
        layer's instructions, by reason.
    helps : str
        Key of the variant that takes the most cycles off the layer; empty if none does.
    helped_cycles : int
        What the layer takes with it.
    """

    name: str
    cycles: int
    engine: str
    bound_cycles: int
    stalls: Mapping[str, int]
    helps: str
    helped_cycles: int


@dataclass(frozen=True)
class Variant:
    """The run on a chip with one other value.

    Attributes
    ----------
    key : str
        Of the hardware description.
    value : float
        What it was set to.
    factor : float
        That over the chip's own.
    replayed_cycles : int or None
        The same program; None where it needs another.
    planned_cycles : int or None
        Planned anew; None where the chip cannot hold the model.
    layer_cycles : mapping of str to int
        Of the better of both.
    """

    key: str
    value: float
    factor: float
    replayed_cycles: int | None
    planned_cycles: int | None
    layer_cycles: Mapping[str, int] = field(repr=False)

    @property
    def cycles(self) -> int | None:
        """The better of both."""
        found = [c for c in (self.replayed_cycles, self.planned_cycles) if c is not None]
        return min(found, default=None)


@dataclass(frozen=True)
class Explanation:
    """Reasons and what would help, all measured.

    Attributes
    ----------
    cycles : int
        Of the run itself.
    room : WeightRoom
    tensors : tuple of TensorPlace
    layers : tuple of LayerLimit
    variants : tuple of Variant
        From the one that helps most.
    """

    cycles: int
    room: WeightRoom
    tensors: tuple[TensorPlace, ...]
    layers: tuple[LayerLimit, ...]
    variants: tuple[Variant, ...]
