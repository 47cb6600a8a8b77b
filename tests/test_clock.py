from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim.codecs import encode_block
from azsim.errors import MachineError
from azsim.hardware.description import Hardware
from azsim.isa import assembly
from azsim.isa.program import DramImage, Stream
from azsim.machine.engines.clock import ENGINES, run_clock
from azsim.sim import products
from azsim.sim.execute import execute
from azsim.sim.timing import Timing, replay
from compiled import chip

pytestmark = pytest.mark.kernels

FENCE = 5

# --------------------------------------------------------- the machine's time, tick by tick


@dataclass
class _Dram:
    burst: int
    latency: int
    outstanding: int
    fifo: int
    row_bursts: int
    row_miss: int
    refresh_every: int
    refresh: int
    banks: int


@dataclass
class _Todo:
    engine: int
    control_before: int
    cycles: int
    waits: list[int]
    first_burst: int
    bursts: int
    arrival: int
    block: list[list[int]]  # what the decoder makes of each burst, weights only
    pieces: list[list[int]]  # first burst and number of bursts; none: all follow `first_burst`
    dispatch: int = -1
    start: int = -1
    end: int = -1


class _Stepped:
    """Goes through time one tick after the other; nothing happens ahead of its time."""

    def __init__(
        self, todo: list[_Todo], ticks: int, issue_cycles: int, queue_entries: int, dram: _Dram
    ) -> None:
        self.todo, self.ticks, self.dram = todo, ticks, dram
        self.issue_ticks, self.queue_entries = issue_cycles * ticks, queue_entries
        self.queues: list[deque[_Todo]] = [deque() for _ in ENGINES]
        self.running: list[_Todo | None] = [None] * len(ENGINES)
        self.order: list[list[_Todo]] = [[] for _ in ENGINES]
        self.waits_for: dict[int, list[_Todo]] = {}
        self.unissued = deque(todo)
        self.last_dispatch = 0
        self.bus_free, self.turn = 0, 0
        self.open_rows: dict[int, int] = {}  # by bank
        self.refreshes_due = 0
        self.burst_ends: list[list[int]] = [[], [], []]
        self.consumed: list[list[int]] = [[], [], []]
        self.row_misses = self.refreshed = 0

    def run(self, limit: int) -> None:
        for now in range(limit):
            while self._happens(now):
                pass
            self._bus(now)
            if all(0 <= entry.end <= now for entry in self.todo):
                return

    def _happens(self, now: int) -> bool:
        something = self._dispatch(now)
        for engine in range(len(ENGINES)):
            something |= self._start(engine, now)
        return something

    def _dispatch(self, now: int) -> bool:
        if not self.unissued:
            return False
        entry = self.unissued[0]
        if now < self.last_dispatch + self.issue_ticks * (1 + entry.control_before):
            return False
        if now < entry.arrival:
            return False
        if entry.engine == FENCE:
            ahead = self.todo[: len(self.todo) - len(self.unissued)]
            if any(other.end < 0 or other.end > now for other in ahead):
                return False
            entry.start = entry.end = now
        elif len(self.queues[entry.engine]) == self.queue_entries:
            return False
        else:
            self.waits_for[id(entry)] = [
                other
                for engine, wait in enumerate(entry.waits)
                if wait
                for other in self.order[engine][: max(0, len(self.order[engine]) - wait + 1)]
            ]
            self.queues[entry.engine].append(entry)
            self.order[entry.engine].append(entry)
        self.unissued.popleft()
        entry.dispatch = self.last_dispatch = now
        return True

    def _start(self, engine: int, now: int) -> bool:
        busy = self.running[engine]
        if busy is not None and (busy.end < 0 or busy.end > now):
            return False
        if not self.queues[engine]:
            return False
        entry = self.queues[engine][0]
        ahead = self.waits_for[id(entry)]
        if any(other.end < 0 or other.end > now for other in ahead):
            return False
        self.queues[engine].popleft()
        self.running[engine] = entry
        entry.start = now
        if engine < 3:
            self.burst_ends[engine], self.consumed[engine] = [], []
        else:
            entry.end = now + entry.cycles * self.ticks
        return True

    def _next_burst(self, channel: int, now: int) -> _Todo | None:
        """The transfer whose next burst the channel could put on the bus now."""
        entry = self.running[channel]
        if entry is None or entry.end >= 0:
            return None
        ends, consumed = self.burst_ends[channel], self.consumed[channel]
        requested = [entry.start]
        if len(ends) >= self.dram.outstanding:
            requested.append(ends[-self.dram.outstanding])
        if channel == 0 and len(ends) >= self.dram.fifo:
            requested.append(consumed[-self.dram.fifo])
        return entry if max(requested) + self.dram.latency <= now else None

    def _bus(self, now: int) -> None:
        dram = self.dram
        if dram.refresh_every and now and now % dram.refresh_every == 0:
            self.refreshes_due += 1
        if now < self.bus_free:
            return
        if self.refreshes_due:
            self.refreshes_due -= 1
            self.bus_free = now + dram.refresh
            if dram.refresh:
                return
        for offset in range(3):
            channel = (self.turn + offset) % 3
            entry = self._next_burst(channel, now)
            if entry is not None:
                break
        else:
            return
        self.turn = (channel + 1) % 3
        number = len(self.burst_ends[channel])
        places = [first + nth for first, count in entry.pieces for nth in range(count)]
        place = places[number] if places else entry.first_burst + number
        row = place // dram.row_bursts
        begin = now
        if row != self.open_rows.get(row % dram.banks):
            self.open_rows[row % dram.banks] = row
            begin += dram.row_miss
            self.row_misses += 1
        done = begin + dram.burst
        self.bus_free = done
        # The core sees the burst's end in the next whole cycle.
        seen = -(-done // self.ticks) * self.ticks
        self.burst_ends[channel].append(seen)
        self.consumed[channel].append(self._consumed(entry, channel))
        if number + 1 == entry.bursts:
            entry.end = self.consumed[channel][-1]

    def _consumed(self, entry: _Todo, channel: int) -> int:
        """When the last burst that ended leaves the FIFO; see `azsim.machine.engines.decoder`."""
        ends, seen = self.burst_ends[channel], self.burst_ends[channel][-1]
        if channel != 0:
            return seen
        left, end_slack, left_slack, hold = (
            [self.ticks * row[column] for row in entry.block] for column in range(4)
        )
        block_late = max(end - slack for end, slack in zip(ends, end_slack, strict=False))
        number = len(ends) - 1
        if number + 1 == entry.bursts:
            return max(seen, block_late + left[-1])
        times = [*self.consumed[0], seen + hold[number]]
        if number:
            late = max(e - slack for e, slack in zip(ends[:-1], left_slack, strict=False))
            times.append(min(late + left[number], block_late + end_slack[number + 1]))
        return max(times)


def _compiled(
    todo: list[_Todo], ticks: int, issue_cycles: int, queue_entries: int, dram: _Dram
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    count = len(todo)
    engine = np.array([entry.engine for entry in todo], np.int64)
    targets = np.zeros((count, 5), np.int64)
    issued = [0] * 6
    for number, entry in enumerate(todo):
        for other, wait in enumerate(entry.waits):
            targets[number, other] = max(0, issued[other] - wait + 1) if wait else 0
        issued[entry.engine] += 1

    def column(name: str) -> np.ndarray:
        return np.array([getattr(entry, name) for entry in todo], np.int64)

    pieces: list[list[int]] = []
    piece_at = np.full(count, -1, np.int64)
    for number, entry in enumerate(todo):
        if entry.pieces:
            piece_at[number] = len(pieces)
        up_to = itertools.accumulate(bursts for _, bursts in entry.pieces)
        pieces += [[first, to] for (first, _), to in zip(entry.pieces, up_to, strict=True)]
    dispatch, start, end = (np.full(count, -1, np.int64) for _ in range(3))
    counters = np.zeros(3, np.int64)
    run_clock(
        engine,
        column("control_before"),
        column("cycles"),
        np.array([row for entry in todo for row in entry.block], np.int64).reshape(-1, 4),
        np.cumsum([0, *(len(entry.block) for entry in todo)])[:-1].astype(np.int64),
        targets,
        column("first_burst"),
        column("bursts"),
        np.array(pieces, np.int64).reshape(-1, 2),
        piece_at,
        column("arrival"),
        np.argsort(engine, kind="stable"),
        ticks,
        issue_cycles,
        queue_entries,
        np.array(list(vars(dram).values()), np.int64),
        dispatch,
        start,
        end,
        counters,
    )
    return dispatch, start, end, counters


@st.composite
def drams(draw: st.DrawFn) -> _Dram:
    every = draw(st.sampled_from([0, 0, 11, 40]))
    return _Dram(
        burst=draw(st.integers(1, 7)),
        latency=draw(st.integers(0, 20)),
        outstanding=draw(st.integers(1, 4)),
        fifo=draw(st.integers(1, 4)),
        row_bursts=draw(st.integers(1, 4)),
        row_miss=draw(st.integers(0, 6)),
        refresh_every=every,
        refresh=draw(st.integers(1, 9)) if every else 0,
        banks=draw(st.sampled_from([1, 2, 3, 8])),
    )


@st.composite
def blocks(draw: st.DrawFn, bursts: int) -> list[list[int]]:
    """Rows of left, end slack, left slack and hold."""
    left = draw(st.lists(st.integers(0, 30), min_size=bursts, max_size=bursts).map(sorted))
    slack = draw(st.lists(st.integers(0, left[-1]), min_size=bursts, max_size=bursts).map(sorted))
    return [
        [after, by_end, draw(st.integers(0, min(after, by_end))), draw(st.integers(0, 3))]
        for after, by_end in zip(left, slack, strict=True)
    ]


@st.composite
def sequences(draw: st.DrawFn, ticks: int) -> list[_Todo]:
    todo = []
    for _ in range(draw(st.integers(1, 14))):
        engine = draw(st.integers(0, 5))
        is_transfer = engine < 3
        piece = st.tuples(st.integers(0, 20), st.integers(1, 3)).map(list)
        pieces = draw(st.lists(piece, max_size=4)) if engine in (1, 2) else []
        bursts = draw(st.integers(1, 6)) if is_transfer else 0
        bursts = sum(count for _, count in pieces) or bursts
        todo.append(
            _Todo(
                engine=engine,
                control_before=draw(st.integers(0, 2)),
                cycles=draw(st.integers(0, 25)) if engine in (3, 4) else 0,
                waits=[draw(st.sampled_from([0, 0, 0, 1, 2, 3])) for _ in ENGINES]
                if engine != FENCE
                else [0] * 5,
                first_burst=pieces[0][0] if pieces else draw(st.integers(0, 20 * is_transfer)),
                bursts=bursts,
                pieces=pieces,
                arrival=draw(st.sampled_from([0, 0, 30, 700])) * ticks if engine == 1 else 0,
                block=draw(blocks(bursts)) if engine == 0 else [],
            )
        )
    return todo


@pytest.mark.slow
@settings(max_examples=150)
@given(data=st.data(), dram=drams(), ticks=st.integers(1, 3))
def test_the_clock_is_the_tick_stepped_one(data: st.DataObject, dram: _Dram, ticks: int) -> None:
    todo = data.draw(sequences(ticks))
    issue, queue = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    stepped = _Stepped(todo, ticks, issue, queue, dram)
    stepped.run(20_000)
    dispatch, start, end, counters = _compiled(todo, ticks, issue, queue, dram)
    found = list(zip(dispatch.tolist(), start.tolist(), end.tolist(), strict=True))
    assert found == [(entry.dispatch, entry.start, entry.end) for entry in todo]
    assert (end >= start).all()
    assert (start >= dispatch).all()
    assert counters[0] == stepped.row_misses
    assert counters[2] == sum(entry.bursts for entry in todo)


@st.composite
def one_requester(draw: st.DrawFn) -> list[_Todo]:
    channel = draw(st.integers(0, 2))
    return [todo for todo in draw(sequences(1)) if todo.engine >= 3 or todo.engine == channel]


@pytest.mark.slow
@settings(max_examples=100)
@given(data=st.data(), dram=drams(), latency=st.integers(0, 9), burst=st.integers(0, 9))
def test_slower_dram_is_never_faster_for_one_requester(
    data: st.DataObject, dram: _Dram, latency: int, burst: int
) -> None:
    todo = data.draw(one_requester())
    dram = replace(dram, refresh_every=0, refresh=0)
    slower = replace(dram, latency=dram.latency + latency, burst=dram.burst + burst)
    if todo:
        ends = _compiled(todo, 1, 1, 2, dram)[2]
        assert (_compiled(todo, 1, 1, 2, slower)[2] >= ends).all()


@pytest.mark.slow
@settings(max_examples=100)
@given(todo=one_requester(), dram=drams(), times=st.integers(2, 4))
def test_several_times_the_banks_are_never_slower_for_one_requester(
    todo: list[_Todo], dram: _Dram, times: int
) -> None:
    """Rows that share a bank of the many share one of the few, too."""
    dram = replace(dram, refresh_every=0, refresh=0)
    if todo:
        _, _, ends, counts = _compiled(todo, 1, 1, 2, dram)
        _, _, found, fewer = _compiled(todo, 1, 1, 2, replace(dram, banks=times * dram.banks))
        assert (found <= ends).all()
        assert fewer[0] <= counts[0]


# ----------------------------------------------------------------------- paper and pencil


def simple(**changes: int | float | str | tuple[str, ...]) -> Hardware:
    """A chip with round numbers: 1 GHz, a burst of 64 bytes takes 10 cycles, latency 20."""
    return chip(
        **{
            "clock_hz": 1_000_000_000,
            "dram__bytes_per_s": 6_400_000_000,
            "dram__burst_bytes": 64,
            "dram__latency_ns": 20,
            "dram__outstanding_bursts": 4,
            "dram__row_bytes": 1024,
            "dram__row_miss_ns": 7,
            "dram__banks": 1,
            "dram__refresh_interval_ns": 0,
            "dram__refresh_ns": 0,
            "decoder__lanes": 1,
            "decoder__fifo_bursts": 2,
            "weight_sram__write_bytes_per_cycle": 64,
            "mac__pipeline_cycles": 5,
            "mac__drain_lanes": 4,
            "vector__lanes": 8,
            "vector__pipeline_cycles": 3,
            "vector__divide_cycles": 4,
            "vector__table_cycles": 2,
            "sequencer__issue_cycles": 1,
            "sequencer__queue_entries": 16,
            **changes,
        }
    )


VIEWS = """
view view=v0 space=dram dtype=f32 addr=0x0 cols=64 col_stride=1
view view=v1 space=activation dtype=f32 addr=0x0 cols=64 col_stride=1
view view=v2 space=activation dtype=f32 addr=0x100 cols=64 col_stride=1
view view=v3 space=dram dtype=f32 addr=0x800 cols=64 col_stride=1
"""
SETUP = 4  # cycles that the four views take


def timed(
    body: str, hardware: Hardware | None = None, image: DramImage | None = None,
    stream: Stream | None = None,
) -> list[tuple[int, int, int]]:  # fmt: skip
    """Dispatch, start and end of each engine instruction (and of the halt)."""
    timing = _timing(body, hardware, image, stream)
    return [
        (int(a), int(b), int(c))
        for a, b, c in zip(timing.dispatch, timing.start, timing.end, strict=True)
    ]


def _timing(
    body: str, hardware: Hardware | None, image: DramImage | None, stream: Stream | None
) -> Timing:
    program = assembly.parse(VIEWS + body + "\nhalt\n")
    if stream is not None:
        program = replace(program, stream=stream)
    hardware = hardware or simple()
    image = image or DramImage(np.zeros(1 << 16, np.uint8))
    return replay(execute(program, image, hardware).trace, program, hardware)


def test_a_single_load() -> None:
    """Four views and the load take 5 cycles to issue.  The load starts at 5; its four bursts are
    requested at once and ready at 25; the first opens a row (7), each takes 10: 25 + 7 + 40 = 72.
    The halt is issued when everything is complete."""
    assert timed("load dst=v1 src=v0") == [(5, 5, 72), (72, 72, 72)]


def test_few_outstanding_bursts_expose_the_latency() -> None:
    """One burst under way: each is requested at the end of the one before and pays 20 + 10; the
    first opens the row."""
    hardware = simple(dram__outstanding_bursts=1)
    assert timed("load dst=v1 src=v0", hardware)[0] == (5, 5, 5 + 4 * 30 + 7)


def test_the_decoders_fifo_does_not_hold_back_activations() -> None:
    """A FIFO of one burst lies between DMA and decoder lanes; loads do not go through it."""
    hardware = simple(decoder__fifo_bursts=1)
    assert timed("load dst=v1 src=v0", hardware)[0] == (5, 5, 72)


def test_a_row_is_opened_once_for_its_bursts() -> None:
    """Rows of two bursts: two of the four bursts open one."""
    assert timed("load dst=v1 src=v0", simple(dram__row_bytes=128))[0] == (5, 5, 25 + 2 * 7 + 40)


def test_an_unaligned_transfer_takes_one_burst_more() -> None:
    """256 bytes from byte 32 on lie in five bursts."""
    body = "view view=v0 space=dram dtype=f32 addr=0x20 cols=64 col_stride=1\nload dst=v1 src=v0"
    assert timed(body)[0] == (6, 6, 26 + 7 + 50)


def test_each_bank_keeps_its_row_open() -> None:
    """As in the next test, but the load's row 0 and the store's row 2 lie in banks 0 and 2 of
    three: two rows are opened, and the bursts end at 42, 59, 69 and so on, the load's fourth at
    109.  Of two banks both rows lie in the first, which is one bank over again."""
    body = "load dst=v1 src=v0\nstore dst=v3 src=v2"
    found = {banks: _timing(body, simple(dram__banks=banks), None, None) for banks in (1, 2, 3)}
    assert [(timing.row_misses, int(timing.end_cycles)) for timing in found.values()] == [
        (8, 161), (8, 161), (2, 119),
    ]  # fmt: skip
    assert found[3].end.tolist() == [109, 119, 119]


def test_two_channels_take_turns() -> None:
    """The load starts at 5, the store at 6: ready at 25 and 26.  Bursts alternate from the
    second on: load, store, load, ... each opening the other's row: 17 cycles a burst.  The load's
    fourth burst is the seventh on the bus: 25 + 7 * 17 = 144; the store's is the eighth."""
    body = "load dst=v1 src=v0\nstore dst=v3 src=v2"
    assert timed(body)[:2] == [(5, 5, 144), (6, 6, 161)]


def test_engines_run_side_by_side_and_waits_hold() -> None:
    """The vector instruction takes 3 + 64 / 8 = 11 cycles and starts when the load has ended."""
    body = "load dst=v1 src=v0\nvector_unary {}dst=v2 src={} function=relu"
    assert timed(body.format("", "v2")) == [(5, 5, 72), (6, 6, 17), (72, 72, 72)]
    assert timed(body.format("wait_load=1 ", "v1")) == [(5, 5, 72), (6, 72, 83), (83, 83, 83)]


def test_a_wait_of_two_leaves_one_behind() -> None:
    """wait_vector=2 waits for all but the last vector instruction: for the first, until 16."""
    body = (
        "vector_fill dst=v1 value=1.0\nvector_fill dst=v2 value=1.0\n"
        "store wait_vector={} dst=v3 src=v1"
    )
    assert timed(body.format(2))[:3] == [(5, 5, 16), (6, 16, 27), (7, 16, 16 + 20 + 7 + 40)]
    assert timed(body.format(1))[2] == (7, 27, 27 + 20 + 7 + 40)


def test_a_full_queue_holds_the_sequencer() -> None:
    """One entry: the second instruction waits in the queue from 6 on, the third gets its place
    when the second starts (16), and the instruction for another engine comes after it."""
    body = "\n".join(["vector_fill dst=v1 value=1.0"] * 3 + ["store dst=v3 src=v2"])
    hardware = simple(sequencer__queue_entries=1)
    assert timed(body, hardware)[:4] == [(5, 5, 16), (6, 16, 27), (16, 27, 38), (17, 17, 84)]
    assert timed(body)[3][0] == 8


def test_issue_takes_its_cycles() -> None:
    """Three cycles an instruction: five instructions come before the first start."""
    assert timed("vector_fill dst=v1 value=1.0", simple(sequencer__issue_cycles=3))[0] == (
        15, 15, 26,
    )  # fmt: skip


def test_a_fence_holds_the_sequencer_until_all_is_complete() -> None:
    """The load ends at 72; the fence is issued then and what follows a cycle later."""
    body = "load dst=v1 src=v0\nfence\nvector_fill dst=v2 value=1.0"
    assert timed(body) == [(5, 5, 72), (72, 72, 72), (73, 73, 84), (84, 84, 84)]


def test_vector_functions_take_their_class() -> None:
    """64 elements on 8 lanes are 8 groups: 3 + 8, tables 3 + 16, division and root 3 + 32;
    quantizing searches (3 + 8) and divides (3 + 32)."""
    ends = {
        "vector_unary dst=v2 src=v1 function=relu": 11,
        "vector_unary dst=v2 src=v1 function=neg": 11,
        "vector_unary dst=v2 src=v1 function=tanh": 19,
        "vector_unary dst=v2 src=v1 function=sqrt": 35,
        "vector_binary dst=v2 src=v1 src2=v1 function=add": 11,
        "vector_binary dst=v2 src=v1 src2=v1 function=div": 35,
        "vector_copy dst=v2 src=v1": 11,
        "vector_fill dst=v2 value=2.0": 11,
    }
    for text, cycles in ends.items():
        assert timed(text)[0] == (5, 5, 5 + cycles), text
    views = (
        "view view=v4 space=activation dtype=i8 addr=0x200 cols=64 col_stride=1\n"
        "view view=v5 space=activation dtype=f32 addr=0x300\n"
    )
    quantize = views + "vector_quantize dst=v4 src=v1 scale=v5"
    assert timed(quantize)[0] == (7, 7, 7 + 11 + 35)
    static = views + (
        "vector_fill dst=v5 value=1.0\nvector_quantize dst=v4 src=v1 scale=v5 static=1"
    )
    # One element is one group: the fill takes 3 + 1 cycles, from 7 on.
    assert timed(static)[:2] == [(7, 7, 11), (8, 11, 11 + 35)]


def _with_block(codes: np.ndarray, codec: str) -> tuple[DramImage, int]:
    block = encode_block(codec, codes.reshape(-1), 8)
    data = np.zeros(1 << 16, np.uint8)
    data[: len(block)] = np.frombuffer(block, np.uint8)
    return DramImage(data), len(block)


WEIGHTS = """
view view=v4 space=dram dtype=u8 addr=0x0 cols={size} col_stride=1
view view=v5 space=weight dtype=i8 addr=0x0 rows=4 cols=128 row_stride=128 col_stride=1
weight_load dst=v5 src=v4
"""


def test_a_raw_weight_load_is_bound_by_dram() -> None:
    """512 raw codes and 16 bytes of header are 9 bursts.  Issued at 7, first burst ready at 27,
    row miss 7, then 10 a burst: 27 + 7 + 90 = 124.  The last burst brings 16 bytes, a cycle on the
    bus; the lane takes a cycle for each 8 of them, and another one writes them: 128.  The
    FIFO of two bursts would hold requests back to the burst before last: it is 20 cycles of
    latency against 10 of a burst that show; with eight bursts of FIFO they do not."""
    image, size = _with_block(np.ones((4, 128), np.int8), "raw")
    assert size == 528
    hardware = simple(decoder__fifo_bursts=8, dram__outstanding_bursts=8)
    assert timed(WEIGHTS.format(size=size), hardware, image)[0] == (7, 7, 128)


def test_a_weight_load_is_bound_by_its_decoder() -> None:
    """512 ones under bitmap: 16 positions take 4 cycles and 144 bits, 128 cycles on one lane; 16 +
    64 + 512 bytes are 10 bursts, the first of which is there at 27 + 7 + 10 = 44."""
    image, size = _with_block(np.ones((4, 128), np.int8), "bitmap")
    assert size == 592
    hardware = simple(
        decoder__fifo_bursts=8, dram__outstanding_bursts=8, weight_sram__write_bytes_per_cycle=1
    )
    # With a port of a byte a cycle the 512 cycles of writing bind.  Before the first 16 codes there
    # are two cycles of the bus, for the header and the first step, and four steps, in the last of
    # which they begin to be written: 5 cycles; a cycle lies between a step and its write.
    assert timed(WEIGHTS.format(size=size), hardware, image)[0] == (7, 7, 44 + 5 + 512 + 1)
    # Decoding takes 128 cycles, more than 10 a burst: two of the bus, the steps, the last write.
    lanes = simple(decoder__fifo_bursts=8, dram__outstanding_bursts=8)
    assert timed(WEIGHTS.format(size=size), lanes, image)[0] == (7, 7, 44 + 2 + 128 + 1)
    # With 16 lanes decoding hides behind DRAM but for what the last burst's 16 bytes are.
    wide = simple(decoder__fifo_bursts=8, dram__outstanding_bursts=8, decoder__lanes=16)
    assert timed(WEIGHTS.format(size=size), wide, image)[0] == (7, 7, 27 + 7 + 100 + 3)


def test_a_short_fifo_starves_the_bus() -> None:
    """One burst of FIFO: a burst is requested when the one before has gone over the decoder's bus,
    which takes 4 cycles.  The first one is there at 7 + 20 + 7 + 10 = 44, the tenth 9 * (20 + 10 +
    4) later; it brings 16 bytes: a cycle of the bus, a step, the write."""
    image, size = _with_block(np.ones((4, 128), np.int8), "bitmap")
    hardware = simple(decoder__fifo_bursts=1, dram__outstanding_bursts=8, decoder__lanes=16)
    assert timed(WEIGHTS.format(size=size), hardware, image)[0] == (7, 7, 44 + 9 * 34 + 3)


def test_products_and_drain() -> None:
    """Four rows of 128 dense weights on 4 lanes, 4 products a cycle, no skipping: 32 windows of 4
    take 32 cycles and the pipeline 5.  The drain of 4 accumulators on 4 lanes takes 5 + 1."""
    hardware = simple(mac__lanes=4, mac__macs_per_lane=4, mac__window=4, mac__zero_skip="none")
    body = """
    view view=v4 space=activation dtype=i8 addr=0x0 cols=128 col_stride=1
    view view=v5 space=weight dtype=i8 addr=0x0 rows=4 cols=128 row_stride=128 col_stride=1
    view view=v6 space=activation dtype=f32 addr=0x400 cols=4 col_stride=1
    view view=v7 space=activation dtype=f32 addr=0x500
    view view=v8 space=weight dtype=f32 addr=0x400 cols=4 col_stride=1
    mac_matmul src=v4 src2=v5
    mac_drain dst=v6 src=v7 scale=v8
    """
    assert timed(body, hardware)[:2] == [(10, 10, 47), (11, 47, 53)]
    # Zero weights are skipped: one cycle for each window of 16, of which there are eight.
    assert timed(body, simple(mac__lanes=4))[0] == (10, 10, 10 + 8 + 5)


def test_refresh_blocks_the_bus() -> None:
    """A refresh is due at 40 and takes 15.  The first burst is on the bus from 25 to 42, the
    refresh until 57; the others follow until 87.  The next refresh is due at 80: the fourth burst
    began at 77 and is not broken off."""
    hardware = simple(dram__refresh_interval_ns=40, dram__refresh_ns=15)
    timing = _timing("load dst=v1 src=v0", hardware, None, None)
    assert (int(timing.start[0]), int(timing.end[0])) == (5, 87)
    assert timing.refresh_waits == 1
    assert timing.row_misses == 1


def test_refreshes_of_a_long_pause_cost_nothing() -> None:
    """A frame that comes after 30 G cycles: 300 M refreshes.  The load's first burst is ready at
    30 G + 20 and waits for the refresh of 30 G, until 30 G + 60; the last one begins at 30 G + 97,
    before the next refresh."""
    hardware = simple(dram__refresh_interval_ns=100, dram__refresh_ns=60)
    stream = Stream(frames=1, period_s=30.0, paced=True)
    timing = _timing("load dst=v1 src=v0 paced=1", hardware, None, stream)
    assert int(timing.start[0]) == 30_000_000_000
    assert int(timing.end[0]) == 30_000_000_000 + 60 + 7 + 40
    assert timing.refresh_waits == 1


def test_a_clock_so_slow_that_a_refresh_is_a_tick_comes_to_its_end() -> None:
    """1 kHz, a burst a cycle: interval and refresh are far below a tick, of which one is a cycle;
    refresh must leave some of them."""
    hardware = simple(
        clock_hz=1000, dram__bytes_per_s=64_000, dram__refresh_interval_ns=40, dram__refresh_ns=15
    )
    assert timed("load dst=v1 src=v0", hardware)[0] == (5, 5, 11)  # latency and row miss: a tick


def test_the_bus_turns_to_who_is_ready_after_a_refresh() -> None:
    """Both channels are ready when the refresh ends: the load, ready at 25, would have been first,
    and is again as the turn is its."""
    hardware = simple(dram__refresh_interval_ns=25, dram__refresh_ns=10)
    ends = timed("load dst=v1 src=v0\nstore dst=v3 src=v2", hardware)
    assert ends[0][2] < ends[1][2]


def test_what_follows_a_paced_load_waits_for_its_frame() -> None:
    body = "load dst=v1 src=v0 paced=1\nvector_fill dst=v2 value=1.0"
    timing = _timing(body, None, None, Stream(frames=1, period_s=100e-9, paced=True))
    assert timing.start.tolist() == [100, 101, 167]


def test_a_frame_cannot_start_before_it_arrives() -> None:
    """Frames every 100 ns: the first load starts at 100, ends at 167; the second at 200.  What
    does not wait for input runs before; the stretches in which nothing ran are idle: from 16 (the
    fill's end) to 100, from 167 to 200."""
    body = "vector_fill dst=v2 value=1.0\nload dst=v1 src=v0 paced=1\nload dst=v1 src=v0 paced=1"
    stream = Stream(frames=2, period_s=100e-9, paced=True)
    timing = _timing(body, None, None, stream)
    starts = [(int(a), int(b)) for a, b in zip(timing.start, timing.end, strict=True)]
    assert starts == [(5, 16), (100, 167), (200, 260), (260, 260)]
    assert timing.arrival.tolist() == [0, 100, 200, 0]
    assert timing.idle_from.tolist() == [16, 167]
    assert timing.idle_to.tolist() == [100, 200]
    assert timing.without_idle(timing.start).tolist() == [5, 16, 83, 143]
    assert timing.without_idle(np.array([0, 16, 50, 100, 167, 180, 200])).tolist() == [
        0, 16, 16, 16, 83, 83, 83,
    ]  # fmt: skip
    # The same frames without pacing follow one another.
    unpaced = _timing(body, None, None, replace(stream, paced=False))
    assert unpaced.idle_from.size == 0
    assert int(unpaced.start[1]) == 6


def test_a_clock_sweep_does_not_speed_up_dram() -> None:
    """At half the clock a burst takes 5 cycles and the latency 10."""
    slow = simple(clock_hz=500_000_000)
    assert timed("load dst=v1 src=v0", slow)[0] == (5, 5, 5 + 10 + 4 + 20)  # 3.5 + 20 rounds up


def test_bursts_that_take_no_whole_cycles_are_exact() -> None:
    """3 GB/s: a burst takes 64 / 3 = 21 1/3 cycles; four take 85 1/3; with 20 and 7 before it and
    the start at 5 the end lies at 117 1/3, and the instruction ends at 118."""
    assert timed("load dst=v1 src=v0", simple(dram__bytes_per_s=3_000_000_000))[0] == (5, 5, 118)


def test_more_than_a_queue_of_waits_on_itself_is_no_deadlock() -> None:
    body = "\n".join(["vector_fill wait_vector=1 dst=v1 value=1.0"] * 40)
    ends = timed(body, simple(sequencer__queue_entries=1))
    assert ends[-1][2] == 5 + 40 * 11


def test_a_program_that_cannot_end_is_named() -> None:
    """No program gets here: waits point backwards.  The replay says so if one ever did."""
    from azsim.sim import timing as module

    program = assembly.parse(VIEWS + "load dst=v1 src=v0\nhalt\n")
    hardware = simple()
    trace = execute(program, DramImage(np.zeros(1 << 16, np.uint8)), hardware).trace
    original = module.FlatTrace.targets
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.FlatTrace, "targets", lambda self: original(self) + 1)
        with pytest.raises(MachineError, match=r"^instruction 4 \(load\) can never run$"):
            replay(trace, program, hardware)


def test_another_replay_works_out_nothing_of_the_trace_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = """
    view view=v4 space=activation dtype=i8 addr=0x0 cols=128 col_stride=1
    view view=v5 space=weight dtype=i8 addr=0x0 rows=4 cols=128 row_stride=128 col_stride=1
    mac_matmul src=v4 src2=v5
    halt
    """
    program, image = assembly.parse(body), DramImage(np.zeros(1 << 16, np.uint8))
    hardware = simple(mac__zero_skip="both", mac__lanes=4)
    trace = execute(program, image, hardware).trace
    first = replay(trace, program, hardware)
    calls: list[str] = []

    def watched(honest: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        def counted(*args: object) -> np.ndarray:
            calls.append(honest.__name__)
            return honest(*args)

        return counted

    for name in ("_by_column", "_by_marks", "_by_tile"):
        monkeypatch.setattr(products._Work, name, watched(getattr(products._Work, name)))
    for again in (hardware, replace(hardware, clock_hz=10**8)):
        np.testing.assert_array_equal(replay(trace, program, again).work, first.work)
    assert not calls
    other = replay(trace, program, simple(mac__zero_skip="both", mac__lanes=2))
    assert calls == ["_by_marks"]
    assert other.work.sum() > first.work.sum()
