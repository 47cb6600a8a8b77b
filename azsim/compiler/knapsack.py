"""What to keep in a memory that does not hold everything: the choice that saves the most.

Things are kept for good or, where they are needed in one phase only, for that phase.  What is kept
for good takes room in every phase; what is kept for a phase shares its room with other phases'.

A price for a byte of each phase's room says what each thing is worth beyond its room; the prices
that make this sum smallest bound what any choice can save (Lagrangian duality).  A depth-first
search with that bound goes through the things, those that the prices decide clearly first.  It
ends with the best choice, or after a number of steps with one that is close to it, and in which no
other way to keep any two things saves more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from azsim.jit import kernel

__all__ = ["DROPPED", "KEPT", "KEPT_IN_PHASE", "Things", "choose_kept", "fits", "saved"]

DROPPED, KEPT_IN_PHASE, KEPT = 0, 1, 2

_MOST_STEPS = 800_000
_OPEN_LAST = (0, 16, 48)
_FEW_THINGS = 500
_LEANING = 1e-4
_NUM_ROUNDS = 4
_NUM_HALVINGS = 30
_NUM_DESCENTS = 150


@dataclass(frozen=True)
class Things:
    """What could be kept.

    Attributes
    ----------
    size : ndarray of shape (N,), int64
        Room that each takes, at least 1.
    saves : ndarray of shape (N,), float64
        What it saves if it is kept for good; not negative.
    saves_in_phase : ndarray of shape (N,), float64
        What it saves if it is kept in its phase; 0 without one.
    phase : ndarray of shape (N,), int64
        Number of its phase, -1 for none.
    """

    size: np.ndarray
    saves: np.ndarray
    saves_in_phase: np.ndarray
    phase: np.ndarray


def saved(things: Things, choice: np.ndarray) -> float:
    """What a choice saves."""
    kept = things.saves[choice == KEPT].sum()
    return float(kept + things.saves_in_phase[choice == KEPT_IN_PHASE].sum())


def fits(things: Things, choice: np.ndarray, room: int) -> bool:
    """Whether a choice never takes more than there is room."""
    kept = int(things.size[choice == KEPT].sum())
    return all(kept + used <= room for used in _used(things, choice)) and kept <= room


def choose_kept(things: Things, room: int, most_steps: int | None = None) -> np.ndarray:
    """Choose what to keep.

    Parameters
    ----------
    things : Things
    room : int
        In the unit of the sizes.
    most_steps : int, optional
        For a quick look: one search of so many steps, which may end further from the best choice.

    Returns
    -------
    ndarray of shape (N,), int64
        `DROPPED`, `KEPT_IN_PHASE` or `KEPT` for each.
    """
    count = things.size.size
    if room <= 0 or not count:
        return np.zeros(count, np.int64)
    numbers = np.unique(things.phase[things.phase >= 0])
    phase = np.where(things.phase >= 0, np.searchsorted(numbers, things.phase), -1)
    num_phases = max(1, numbers.size)  # room for what is kept for good is one more where none is
    size = np.ascontiguousarray(things.size, np.int64)
    saves = np.ascontiguousarray(things.saves, np.float64)
    in_phase = np.where(phase >= 0, things.saves_in_phase, -1.0)
    # The one way that is as good as the other in no more room makes the other one needless.
    saves = np.where(in_phase >= saves, -1.0, saves)
    in_phase = np.where(num_phases == 1, np.where(saves >= 0, -1.0, in_phase), in_phase)
    num_descents = _NUM_DESCENTS if most_steps is None else 0
    prices = _prices(size, saves, in_phase, phase, num_phases, room, num_descents)
    worth = _worth(size, saves, in_phase, phase, prices)
    clearness = np.sort(worth, axis=1)
    order = np.argsort(clearness[:, 1] - clearness[:, 2], kind="stable")
    best = np.zeros(count, np.int64)
    if most_steps is not None:
        return _search(size, saves, in_phase, phase, prices, worth, order, room, most_steps, best)
    for open_last in _OPEN_LAST:
        # Of those that the prices leave open the large ones first; small ones fill what is left.
        last = order[max(0, count - open_last) :]
        order[max(0, count - open_last) :] = last[np.argsort(-size[last], kind="stable")]
        best = _search(size, saves, in_phase, phase, prices, worth, order, room, _MOST_STEPS, best)
        if count <= _FEW_THINGS:
            _exchange(size, saves, in_phase, phase, num_phases, room, best)
    return best


def _used(things: Things, choice: np.ndarray) -> list[int]:
    """Room that each phase takes for itself."""
    mine = choice == KEPT_IN_PHASE
    phases = np.unique(things.phase[things.phase >= 0])
    return [int(things.size[mine & (things.phase == phase)].sum()) for phase in phases]


@kernel
def _worth(
    size: np.ndarray, saves: np.ndarray, in_phase: np.ndarray, phase: np.ndarray, prices: np.ndarray
) -> np.ndarray:
    """What each way to keep a thing saves beyond the price of its room, (N, 3)."""
    total = prices.sum()
    worth = np.zeros((size.size, 3))
    for number in range(size.size):
        worth[number, 1:] = -np.inf
        if in_phase[number] >= 0:
            price = prices[phase[number]]
            worth[number, KEPT_IN_PHASE] = in_phase[number] - price * size[number]
        if saves[number] >= 0:
            worth[number, KEPT] = saves[number] - total * size[number]
    return worth


@kernel
def _spare(
    size: np.ndarray,
    saves: np.ndarray,
    in_phase: np.ndarray,
    phase: np.ndarray,
    prices: np.ndarray,
    room: int,
) -> tuple[float, np.ndarray]:
    """Bound that prices give, and the room that is left in each phase if all decide by them."""
    worth = _worth(size, saves, in_phase, phase, prices)
    bound = prices.sum() * room
    spare = np.full(prices.size, float(room))
    for number in range(size.size):
        best = int(np.argmax(worth[number]))
        bound += worth[number, best]
        if best == KEPT:
            spare -= size[number]
        elif best == KEPT_IN_PHASE:
            spare[phase[number]] -= size[number]
    return bound, spare


@kernel
def _prices(
    size: np.ndarray,
    saves: np.ndarray,
    in_phase: np.ndarray,
    phase: np.ndarray,
    num_phases: int,
    room: int,
    num_descents: int,
) -> np.ndarray:
    """Prices with a small bound: phase by phase in turns, then downhill in all of them."""
    highest = max((saves / size).max(), (in_phase / size).max(), 0.0) + 1e-9
    prices = np.zeros(num_phases)
    for _ in range(_NUM_ROUNDS if num_descents else min(num_phases, 2)):
        for number in range(num_phases):
            low, high = 0.0, highest
            for _ in range(_NUM_HALVINGS):
                prices[number] = 0.5 * (low + high)
                _, spare = _spare(size, saves, in_phase, phase, prices, room)
                if spare[number] >= 0:
                    high = prices[number]
                else:
                    low = prices[number]
            prices[number] = high
    best = prices.copy()
    least, spare = _spare(size, saves, in_phase, phase, prices, room)
    for turn in range(num_descents if num_phases > 1 else 0):
        length = np.abs(spare).max() + 1.0
        prices = np.maximum(0.0, prices - 0.3 * highest / (turn + 4) * spare / length)
        bound, spare = _spare(size, saves, in_phase, phase, prices, room)
        if bound < least:
            least, best = bound, prices.copy()
    return best


@kernel
def _search(
    size: np.ndarray,
    saves: np.ndarray,
    in_phase: np.ndarray,
    phase: np.ndarray,
    prices: np.ndarray,
    worth: np.ndarray,
    order: np.ndarray,
    room: int,
    most_steps: int,
    best: np.ndarray,
) -> np.ndarray:
    """Depth first, the most worthy way to keep a thing first; what is better than `best`."""
    count = size.size
    rest = np.zeros(count + 1)  # worth of what is still open
    for depth in range(count - 1, -1, -1):
        rest[depth] = rest[depth + 1] + max(0.0, worth[order[depth]].max())
    ways = np.zeros((count, 3), np.int64)
    for number in range(count):
        # Where the price says neither yes nor no, to keep comes first.
        leaning = worth[number].copy()
        leaning[DROPPED] -= _LEANING * max(saves[number], in_phase[number])
        ways[number] = np.argsort(-leaning)
    choice = np.zeros(count, np.int64)
    best_saved = saves[best == KEPT].sum() + in_phase[best == KEPT_IN_PHASE].sum()
    left = np.full(prices.size, room)
    tried = np.zeros(count + 1, np.int64)  # ways that were tried at each depth
    depth, saved_here = 0, 0.0
    for _ in range(most_steps):
        if depth == count and saved_here > best_saved:
            best, best_saved = choice.copy(), saved_here
        is_open = depth < count and tried[depth] < 3
        if is_open and tried[depth] == 0:
            bound = saved_here + rest[depth] + (prices * left).sum()
            is_open = bound > best_saved * (1 + 1e-12) + 1e-12
        if not is_open:  # back to the thing before
            if depth < count:
                tried[depth] = 0
            depth -= 1
            if depth < 0:
                break
            number = order[depth]
            if choice[number] == KEPT:
                saved_here -= saves[number]
                left += size[number]
            elif choice[number] == KEPT_IN_PHASE:
                saved_here -= in_phase[number]
                left[phase[number]] += size[number]
            choice[number] = DROPPED
            continue
        number = order[depth]
        way = ways[number, tried[depth]]
        tried[depth] += 1
        if way == KEPT:
            if saves[number] < 0 or size[number] > left.min():
                continue
            left -= size[number]
            saved_here += saves[number]
        elif way == KEPT_IN_PHASE:
            if in_phase[number] < 0 or size[number] > left[phase[number]]:
                continue
            left[phase[number]] -= size[number]
            saved_here += in_phase[number]
        choice[number] = way
        depth += 1
        tried[depth] = 0
    return best


@kernel
def _take(size: int, phase: int, way: int, left: np.ndarray, sign: int) -> None:
    """Take a thing's room, or give it back (sign -1)."""
    if way == KEPT:
        left -= sign * size
    elif way == KEPT_IN_PHASE:
        left[phase] -= sign * size


@kernel
def _exchange(
    size: np.ndarray,
    saves: np.ndarray,
    in_phase: np.ndarray,
    phase: np.ndarray,
    num_phases: int,
    room: int,
    choice: np.ndarray,
) -> None:
    """Keep one thing or two in other ways as long as that saves more."""
    count = size.size
    gains = np.zeros((count, 3))
    gains[:, KEPT_IN_PHASE], gains[:, KEPT] = in_phase, saves
    left = np.full(num_phases, room)
    for number in range(count):
        _take(size[number], phase[number], choice[number], left, 1)
    is_better = True
    while is_better:
        is_better = False
        for one in range(count):
            for other in range(one, count):
                now = gains[one, choice[one]] + (
                    gains[other, choice[other]] if other > one else 0.0
                )
                before = choice[one], choice[other]
                for pair in range(9):
                    first, second = pair // 3, pair % 3
                    if other == one and second != first:
                        continue
                    value = gains[one, first] + (gains[other, second] if other > one else 0.0)
                    if gains[one, first] < 0 or gains[other, second] < 0:
                        continue
                    if value <= now * (1 + 1e-12) + 1e-12:
                        continue
                    rest = left.copy()
                    _take(size[one], phase[one], before[0], rest, -1)
                    _take(size[one], phase[one], first, rest, 1)
                    if other > one:
                        _take(size[other], phase[other], before[1], rest, -1)
                        _take(size[other], phase[other], second, rest, 1)
                    if rest.min() < 0:
                        continue
                    choice[one], choice[other] = first, second
                    left, now, before, is_better = rest, value, (first, second), True
