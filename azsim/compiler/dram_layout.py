"""DRAM layout: where buffers lie, so that transfers find rows open.

Contract: takes a schedule, gives an address for every storage in DRAM; no two share a byte.

- Blocks of weights lie in the order in which they are first read, one right behind another, so
  that a row that one of them ends in is still open for the next one.
- What else has a row or more begins with a row, as it comes and goes in pieces.
- Two channels that move at the same time take DRAM in turns, burst by burst: where both are in the
  same bank, each closes the other's row, every time; and a transfer behind another does so once.
  So a frame is played through a model of the engines (`azsim.compiler.channels`), and what meets
  another transfer begins in the bank in which it is least in its way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from azsim.compiler.channels import Meeting, meetings
from azsim.compiler.estimate import Estimator
from azsim.compiler.schedule import BLOCK_SUFFIX, Schedule, Storage, accesses, walk
from azsim.compiler.tile import aligned
from azsim.hardware.description import Hardware

__all__ = ["dram_addresses"]

_MOMENTS = (np.arange(8) + 0.5) / 8
"""Parts of a meeting at which it is looked at where both channels are."""
_BANK_AWAY = 0.25
"""What a meeting counts with each bank that is between both: it may be late, or early."""
_ROUNDS = 16
"""Rounds of the frame loop in which a meeting is looked at where a transfer moves with it."""
_SWEEPS = 2


def dram_addresses(
    schedule: Schedule,
    used: Iterable[Storage],
    on_chip: Mapping[str, int],
    hardware: Hardware,
    estimator: Estimator | None,
) -> tuple[dict[str, int], int]:
    """Place what lies in DRAM.

    Parameters
    ----------
    schedule : Schedule
    used : iterable of Storage
        Of any memory; those in DRAM are placed.
    on_chip : mapping of str to int
        Addresses of the others.
    hardware : Hardware
    estimator : Estimator or None
        For when transfers meet; without it, nothing is known of that.

    Returns
    -------
    dict of str to int
        Address by storage.
    int
        Bytes that all take.
    """
    first: dict[str, int] = {}
    for at, item in enumerate(walk(schedule.startup + schedule.body + schedule.finish)):
        for _, access in accesses(item):
            first.setdefault(schedule.storages[access.buffer].whole, at)
    in_dram = sorted(
        (storage for storage in used if storage.space == "dram"),
        key=lambda storage: first[storage.name],
    )
    blocks = [storage for storage in in_dram if storage.name.endswith(BLOCK_SUFFIX)]
    others = [storage for storage in in_dram if not storage.name.endswith(BLOCK_SUFFIX)]
    met: dict[str, list[Meeting]] = {}
    for meeting in meetings(schedule, on_chip, estimator, hardware) if estimator else ():
        met.setdefault(meeting.storage, []).append(meeting)
        met.setdefault(meeting.other, []).append(meeting.turned())
    row_bytes = hardware.dram.row_bytes
    all_banks_bytes = row_bytes * hardware.dram.banks
    addresses: dict[str, int] = {}
    movable: list[str] = []
    end = 0
    for storage in blocks:
        addresses[storage.name] = end
        end += aligned(storage.size_bytes)
    for storage in others:
        room, mine = storage.size_bytes, met.get(storage.name, [])
        # What is smaller shares rows with its neighbours, unless it moves beside another channel.
        if mine and (room >= row_bytes or any(meeting.bursts > 1 for meeting in mine)):
            end = aligned(end, all_banks_bytes)
            room += all_banks_bytes  # wherever it will begin
            movable.append(storage.name)
        elif room >= row_bytes:
            end = aligned(end, row_bytes)
        addresses[storage.name] = end
        end += aligned(room)
    _choose_banks(addresses, movable, met, hardware, schedule.rounds)
    return addresses, end


def _choose_banks(
    addresses: dict[str, int],
    movable: Collection[str],
    met: Mapping[str, list[Meeting]],
    hardware: Hardware,
    rounds: int,
) -> None:
    """Let each movable storage begin up to all banks later, where it loses least.

    The first sweep sees what is placed already, the others see all.
    """
    row_bytes, banks = hardware.dram.row_bytes, hardware.dram.banks
    base = {name: addresses[name] for name in movable}
    placed = {name: at for name, at in addresses.items() if name not in base}
    for _ in range(_SWEEPS):
        for name in movable:
            begins = base[name] + row_bytes * np.arange(banks)
            mine = [meeting for meeting in met[name] if meeting.other in placed]
            lost = _lost(mine, begins, placed, hardware, rounds)
            placed[name] = int(begins[np.argmin(lost)])
    addresses |= placed


def _lost(
    met: list[Meeting],
    begins: np.ndarray,
    addresses: Mapping[str, int],
    hardware: Hardware,
    rounds: int,
) -> np.ndarray:
    """Bursts that find another row open in their bank, or may, for each begin of a storage."""
    if not met:
        return np.zeros(len(begins))
    row_bytes, banks = hardware.dram.row_bytes, hardware.dram.banks
    mine = np.array([meeting.span for meeting in met])
    theirs = np.array([meeting.other_span for meeting in met])
    others = np.array([addresses[meeting.other] for meeting in met])
    steps = np.array([(meeting.step, meeting.other_step) for meeting in met])
    later = np.linspace(0, rounds - 1, min(rounds, _ROUNDS)) if steps.any() else np.zeros(1)
    # Each meeting at each moment of each of some rounds.
    at, other_at = (
        (_at_moments(spans)[:, None] + np.floor(later)[:, None] * steps[:, which, None, None])
        for which, spans in enumerate((mine, theirs))
    )
    at, other_at = (moments.reshape(len(met), -1) for moments in (at, other_at))
    rows = (begins[:, None, None] + at) // row_bytes
    away = np.abs(rows - (others[:, None] + other_at) // row_bytes)
    between = np.minimum(away % banks, -away % banks)
    share = np.where(away > 0, _BANK_AWAY**between, 0.0).mean(axis=-1)
    return share @ np.array([meeting.bursts for meeting in met])


def _at_moments(spans: np.ndarray) -> np.ndarray:
    """Bytes that spans have reached; (spans, moments)."""
    begins, ends = spans[:, :1], spans[:, 1:]
    return begins + (ends - begins) * _MOMENTS
