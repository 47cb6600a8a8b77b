"""Blocks read bit by bit in plain Python, from the layouts that the codecs' docstrings give.

A walk gives the codes, the bits that are none of a step's, and for each lane its steps: what one
cycle of it takes in bits and gives in codes.  Shares no code with azsim but the header of
lane_tans, which is no part of any step.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

import numpy as np

from azsim.codecs import _tans_header, _tans_tokens
from lane_model import Steps

__all__ = ["WALKS", "Walk"]

Walk = tuple[list[int], int, list[Steps]]
"""Codes, bits of the head, and the steps of each lane."""


class _Bits:
    """Reader of bits, least significant one of a byte first."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.head_bits = data, 0, 0

    def take_head(self, width: int) -> int:
        """Bits that are none of a step's."""
        self.head_bits += width
        return self.take(width)

    def finish(self) -> int:
        """Bits of the head, once all but 0 to 7 bits are read."""
        assert 8 * len(self.data) - 8 < self.at
        self.align()
        return 128 + self.head_bits

    def take(self, width: int) -> int:
        first, self.at = self.at, self.at + width
        assert self.at <= 8 * len(self.data)
        chunk = self.data[first // 8 : (self.at + 7) // 8]
        return int.from_bytes(chunk, "little") >> first % 8 & ((1 << width) - 1)

    def align(self) -> None:
        assert self.take_head(-self.at % 8) == 0


class _Head:
    """Header of a block, and its fields, plain ones or indices into a palette."""

    def __init__(self, block: bytes) -> None:
        mode, self.count, _ = struct.unpack_from("<BII", block, 3)
        self.bits, self.flags = mode & 15, mode >> 4
        self.payload = _Bits(block[16:])

    def read_palette(self, min_width: int) -> None:
        self.palette: list[int] = []
        self.width = self.bits
        if self.flags & 1:
            take = self.payload.take_head
            entries = take(8) + 1
            self.palette = [_signed(take(8), 8) for _ in range(entries)]
            self.width = max((entries - 1).bit_length(), min_width)

    def field(self) -> int:
        value = self.payload.take(self.width)
        return self.palette[value] if self.palette else _signed(value, self.width)


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def _shares(parts: list[Steps], lanes: int) -> list[Steps]:
    """Equal shares of parts, contiguous ones."""
    share = max(1, -(-len(parts) // lanes))
    starts = range(0, max(1, len(parts)), share)
    return [list(itertools.chain(*parts[start : start + share])) for start in starts]


def _parts(count: int, lanes: int) -> list[range]:
    """Contiguous parts of so many codes."""
    share = -(-count // lanes)
    return [range(min(i * share, count), min((i + 1) * share, count)) for i in range(lanes)]


def _dealt(parts: list[Steps], lanes: int) -> list[Steps]:
    """Lane i takes parts i, i + lanes and so on."""
    return [list(itertools.chain(*parts[lane::lanes])) for lane in range(min(lanes, len(parts)))]


def walk_fixed(block: bytes, lanes: int) -> Walk:
    """A step is an index, or as many codes as 64 bits hold."""
    head = _Head(block)
    head.read_palette(1)
    codes = [head.field() for _ in range(head.count)]
    most = 1 if head.palette else 64 // head.width
    steps = []
    for part in _parts(head.count, lanes):
        sizes = [min(most, len(part) - done) for done in range(0, len(part), most)]
        steps.append([(size * head.width, size) for size in sizes])
    return codes, head.payload.finish(), steps


def walk_bitmap(block: bytes, lanes: int) -> Walk:
    """A step is up to 4 non-zeros of 16 positions, the first with their mask."""
    head = _Head(block)
    head.read_palette(0)
    mask = [head.payload.take(1) for _ in range(head.count)]
    head.payload.align()
    codes = [head.field() if bit else 0 for bit in mask]
    lists = []
    for part in _parts(head.count, lanes):
        steps: Steps = []
        for start in range(part.start, part.stop, 16):
            group = mask[start : min(start + 16, part.stop)]
            left = sum(group)
            bits = len(group)
            while left > 4:
                steps.append((bits + 4 * head.width, 0))
                left -= 4
                bits = 0
            steps.append((bits + left * head.width, len(group)))
        lists.append(steps)
    return codes, head.payload.finish(), lists


def walk_zero_run(block: bytes, lanes: int) -> Walk:
    """A step is an entry; it has no bits in the second lane that it reaches into, and so on."""
    head = _Head(block)
    head.read_palette(0)
    codes: list[int] = []
    parts = _parts(head.count, lanes)
    lists: list[Steps] = [[] for _ in parts]
    while len(codes) < head.count:
        first = len(codes)
        codes += [0] * head.payload.take(4)
        codes.append(head.field())
        bits = 4 + head.width
        for part, steps in zip(parts, lists, strict=True):
            inside = len(range(max(first, part.start), min(len(codes), part.stop)))
            if inside:
                steps.append((bits, inside))
                bits = 0
    return codes, head.payload.finish(), lists


def walk_csc(block: bytes, lanes: int) -> Walk:
    """A step is an entry, or the cycle in which a pointer is read that says that there is none."""
    head = _Head(block)
    head.read_palette(0)
    take = head.payload.take_head
    columns = take(32)
    index_bits, stream_lanes, pointer_bits = take(4), take(12) + 1, take(8)
    counts = [[take(pointer_bits) for _ in range(columns)] for _ in range(stream_lanes)]
    codes = [0] * head.count
    rows = head.count // columns
    parts: list[list[tuple[Steps, int]]] = []  # of each stream lane and column: entries, rows
    for lane in range(stream_lanes):
        found = []
        for column in range(columns):
            row = lane
            entries: Steps = []
            for _ in range(counts[lane][column]):
                skipped = head.payload.take(index_bits)
                row += skipped * stream_lanes
                codes[row * columns + column] = head.field()
                row += stream_lanes
                entries.append((index_bits + head.width, skipped + 1))
            assert row - stream_lanes < rows
            found.append((entries, len(range(row, rows, stream_lanes))))
        parts.append(found)
    lists = []
    for lane in range(min(lanes, stream_lanes)):
        steps: Steps = []
        # In cycle c pointer c is read, and the ones before it are known.
        for pointer, (entries, rest) in enumerate(itertools.chain(*parts[lane::lanes])):
            cycle = len(steps)
            assert cycle >= pointer
            if not entries and cycle == pointer:
                steps.append((0, 0))
            steps += entries
            bits, given = steps[-1]
            steps[-1] = bits, given + rest
        lists.append(steps)
    return codes, head.payload.finish(), lists


def walk_nm(block: bytes, lanes: int) -> Walk:
    """A step is up to 4 values of a group, the first with the number of the set."""
    head = _Head(block)
    head.read_palette(1)
    take = head.payload.take_head
    columns, n, m = take(32), take(4) + 1, 1 << take(4)
    sets = sorted(itertools.combinations(range(m), n), key=lambda s: sum(1 << i for i in s))
    set_bits = (len(sets) - 1).bit_length()
    codes: list[int] = []
    parts: list[Steps] = []
    for _ in range(head.count // columns):
        for start in range(0, columns, m):
            places = sets[head.payload.take(set_bits)]
            group = [0] * m
            for place in places:
                group[place] = head.field()
            inside = min(m, columns - start)
            codes += group[:inside]
            steps: Steps = []
            for first in range(0, n, 4):
                bits = min(4, n - first) * head.width + (set_bits if first == 0 else 0)
                steps.append((bits, inside if first + 4 >= n else 0))
            parts.append(steps)
    return codes, head.payload.finish(), _shares(parts, lanes)


def walk_dense_block(block: bytes, lanes: int) -> Walk:
    """A step is a block's mask bit and, if it is 1, up to 4 of its codes."""
    head = _Head(block)
    head.read_palette(1)
    take = head.payload.take_head
    columns, block_rows, block_cols = take(32), take(8) + 1, take(8) + 1
    rows = head.count // columns
    corners = list(itertools.product(range(0, rows, block_rows), range(0, columns, block_cols)))
    mask = [head.payload.take(1) for _ in corners]
    head.payload.align()
    codes = [0] * head.count
    parts: list[Steps] = []
    for is_there, (top, left) in zip(mask, corners, strict=True):
        places = [
            row * columns + column
            for row in range(top, min(top + block_rows, rows))
            for column in range(left, min(left + block_cols, columns))
        ]
        if not is_there:
            parts.append([(1, len(places))])
            continue
        for place in places:
            codes[place] = head.field()
        sizes = [min(4, len(places) - first) for first in range(0, len(places), 4)]
        parts.append([(size * head.width + (i == 0), size) for i, size in enumerate(sizes)])
    return codes, head.payload.finish(), _shares(parts, lanes)


def _huffman_words(bits: _Bits, num: int) -> dict[tuple[int, int], int]:
    """Symbol of each (length, word) of a canonical code whose lengths come next."""
    lengths: list[int] = []
    for _ in range(num):
        before = lengths[-1] if lengths else 0
        if not bits.take_head(1):
            lengths.append(before)
        elif bits.take_head(1):
            lengths.append(bits.take_head(4))
        else:
            lengths.append(before - 1 if bits.take_head(1) else before + 1)
    table = {}
    word = 0
    for length in range(1, 13):
        word <<= 1
        for symbol in range(num):
            if lengths[symbol] == length:
                table[length, word] = symbol
                word += 1
    return table


def _huffman_symbol(bits: _Bits, table: dict[tuple[int, int], int]) -> tuple[int, int]:
    """Bits of the next word, and its symbol."""
    word = 0
    for length in range(1, 13):
        word = word << 1 | bits.take(1)
        if (length, word) in table:
            return length, table[length, word]
    raise AssertionError("no such word")


def walk_huffman(block: bytes, lanes: int) -> Walk:
    """A step is a code word, of a code or of a run."""
    head = _Head(block)
    stream = head.payload
    segments, width = stream.take_head(4) + 1, stream.take_head(5)
    runs = _huffman_words(stream, 32) if head.flags & 2 else None
    words = _huffman_words(stream, 2**head.bits - 1)
    limit = 2 ** (head.bits - 1) - 1
    sizes = [stream.take_head(width) for _ in range(segments - 1)]
    share = -(-head.count // segments)
    codes: list[int] = []
    parts: list[Steps] = []
    for segment in range(segments):
        stop = min((segment + 1) * share, head.count)
        steps: Steps = []
        while len(codes) < stop:
            if runs is not None:
                bits, run = _huffman_symbol(stream, runs)
                steps.append((bits, run))
                codes += [0] * run
                if run == 31 or len(codes) == stop:
                    continue
            bits, symbol = _huffman_symbol(stream, words)
            steps.append((bits, 1))
            codes.append(symbol - limit)
        if segment < segments - 1:
            assert sum(bits for bits, _ in steps) == sizes[segment]
        parts.append(steps)
    return codes, stream.finish(), _dealt(parts, lanes)


def walk_rice(block: bytes, lanes: int) -> Walk:
    """A step is a slice header or a chunk, or 32 codes that leave the expander."""
    head = _Head(block)
    data = head.payload.data
    streams = [data]
    if head.flags & 1:
        num = data[0] + 1
        sizes = struct.unpack_from(f"<{num}I", data, 1)
        ends = list(itertools.accumulate(sizes, initial=1 + 4 * num))
        streams = [data[start:end] for start, end in itertools.pairwise(ends)]
    codes: list[int] = []
    parts: list[Steps] = []
    head_bits = 128 + 8 * (len(data) - sum(map(len, streams)))
    for stream in streams:
        bits = _Bits(stream)
        steps: Steps = []
        palette, direct = [], 0
        palette_bits = 0
        while (zdiv := bits.take(3)) != 7:
            start = bits.at - 3
            num, wdiv, trunc, new = bits.take(15) + 1, bits.take(3), bits.take(1), bits.take(1)
            if new:
                direct, entries = bits.take(5), bits.take(5)
                palette_bits = bits.take(3) + 2
                palette = [bits.take(palette_bits) for _ in range(entries + (entries > 0))]
            steps.append((bits.at - start, 0))
            fixed_bits = (len(palette) - 1).bit_length() if palette else palette_bits
            weights, runs, chunks = _rice_slice(bits, num, new, zdiv, wdiv, trunc, fixed_bits)
            pieces = [[0] * runs[0]] if runs and new else []
            for i, index in enumerate(weights):
                value = palette[index] if index < len(palette) else index - len(palette) + direct
                run = runs[i + new] if runs else 0
                pieces.append([-(value >> 1) if value & 1 else value >> 1] + [0] * run)
            codes += itertools.chain(*pieces)
            given = 0
            for size, done in chunks:
                out = sum(map(len, pieces[:done]))
                steps.append((size, out - given))
                given = out
        end = 8 * len(stream) - bits.at
        assert 0 <= end < 128
        assert bits.take(end) == (1 << end) - 1
        head_bits += 3 + end
        parts.append(_expanded(steps))
    return codes, head_bits, _dealt(parts, lanes)


def _expanded(chunks: Steps) -> Steps:
    """Chunks are taken while less than 64 codes wait; 32 of these leave in a cycle."""
    chunks = chunks[::-1]
    steps: Steps = []
    waiting = 0
    while chunks or waiting:
        bits = 0
        if chunks and waiting < 64:
            bits, more = chunks.pop()
            waiting += more
        steps.append((bits, min(32, waiting)))
        waiting = max(0, waiting - 32)
    return steps


def _rice_slice(
    bits: _Bits, num: int, new: int, zdiv: int, wdiv: int, trunc: int, fixed_bits: int
) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """Weights, runs, and of each chunk its bits and how many weights with their runs are done.

    The remainders after the last chunk count to it.
    """
    num_runs = num + new if zdiv != 6 else 0
    is_fixed = wdiv == 7
    width = fixed_bits if is_fixed else wdiv
    weights: list[int] = []
    runs: list[int] = []
    chunks: list[tuple[int, int]] = []
    quotient = run = 0  # of the weight and the run that go on in the next chunk
    weights_due: list[int] = []
    runs_due: list[int] = []
    while len(weights) + len(weights_due) < num or len(runs) + len(runs_due) < num_runs:
        start = bits.at
        w, z = len(weights) + len(weights_due), len(runs) + len(runs_due)
        has_weights = w < num and (not num_runs or w - z < 8)
        has_runs = z < num_runs and w >= z
        first = [bits.take(1) for _ in range(12)] if has_weights and not is_fixed else []
        digits = [bits.take(1) for _ in range(8 if zdiv == 3 else 12)] if has_runs else []
        ended: list[int] = []
        for one in first:
            two = bits.take(1) if one else 0
            quotient += one + two
            if trunc or not two:
                ended.append(quotient)
                quotient = 0
        if has_weights and is_fixed:
            ended = [0] * (8 if width > 5 else 12)
        ended = ended[: num - w]
        runs_ended: list[int] = []
        for one in digits:
            run += one
            if not one:
                runs_ended.append(run)
                run = 0
        runs_ended = runs_ended[: num_runs - z]
        weights += [q << width | bits.take(width) for q in weights_due]
        runs += [q << zdiv | bits.take(zdiv) for q in runs_due]
        weights_due, runs_due = ended, runs_ended
        w, z = len(weights) + len(ended), len(runs) + len(runs_ended)
        # Done pieces: the run ahead of the first weight is one where there is a new palette.
        chunks.append((bits.at - start, min(w + new, z) if num_runs else w))
    start = bits.at
    weights += [q << width | bits.take(width) for q in weights_due]
    runs += [q << zdiv | bits.take(zdiv) for q in runs_due]
    size, done = chunks[-1]
    chunks[-1] = (size + bits.at - start, done)
    return weights, runs, chunks


class _TansLane:
    """Bits that a lane holds, the words that it will get, and the codes of its tokens."""

    def __init__(self, size: int, odd: int) -> None:
        self.bits, self.held, self.words_left = odd, size % 32, size // 32

    def take(self, width: int) -> int:
        assert width <= self.held
        value, self.bits = self.bits & ((1 << width) - 1), self.bits >> width
        self.held -= width
        return value


def _dealt_states(frequencies: list[int], log: int) -> list[tuple[int, int]]:
    """Symbol of each state and what the state stands for."""
    dealt = [0] * len(frequencies)
    states = []
    for _ in range(1 << log):
        keys = [
            ((2 * k + 1) / (2 * f), symbol)
            for symbol, (k, f) in enumerate(zip(dealt, frequencies, strict=True))
            if k < f
        ]
        symbol = min(keys)[1]
        states.append((symbol, frequencies[symbol] + dealt[symbol]))
        dealt[symbol] += 1
    return states


class _TansBlock:
    """Header of a lane_tans block as azsim reads it, its tables dealt anew."""

    def __init__(self, block: bytes) -> None:
        head = _Head(block)
        payload = np.frombuffer(block, np.uint8)[16:]
        self.header = _tans_header.read_header(payload, head.count, head.bits, head.flags)
        side = self.header.side
        self.columns, self.log, self.skip = side.num_columns, side.log, side.skip.tolist()
        self.rows = head.count // self.columns
        self.kinds = {kind.kind: kind for kind in side.kinds}
        self.tables = {
            kind.kind: [_dealt_states(row.tolist(), side.log) for row in kind.frequencies]
            for kind in side.kinds
        }
        symbols = _tans_tokens.value_symbols(head.bits, side.form)
        assert symbols is not None
        self.symbols = [row.tolist() for row in symbols[1:]]
        self.codes = [0] * head.count
        self.words = list(struct.iter_unpack("<I", block[16 + self.header.num_bytes :]))[::-1]

    def table(self, kind: int, row: int, column: int) -> list[tuple[int, int]]:
        found = self.kinds[kind]
        of_row = 0 if found.rows is None else int(found.rows[row])
        of_column = 0 if found.columns is None else int(found.columns[column])
        return self.tables[kind][sum(int(end) <= of_row + of_column for end in found.ends)]

    def groups(self, lane: int) -> list[tuple[int, int]]:
        """Row and first column of a lane's groups."""
        lanes = len(self.header.lane_bits)
        every = list(itertools.product(range(self.rows), range(0, self.columns, 16)))
        return [
            group
            for number, group in enumerate(every)
            if (lane + number // lanes) % lanes == number % lanes
        ]

    def tokens(self, lane: _TansLane, groups: list[tuple[int, int]]) -> Iterator[int]:
        """Decode a token at a time and give how many codes it completes."""
        flag, mask, value = 0, 1, 2
        state = lane.take(self.log)
        for number, (row, start) in enumerate(groups):
            stop = min(start + 16, self.columns)
            at, ones, has_flag = start, [], flag in self.kinds
            while at < stop:
                kind, column = value, at
                if has_flag:
                    kind, column = flag, at // 16
                elif mask in self.kinds and not ones:
                    kind, column = mask, at // 4
                symbol, low = self.table(kind, row, column)[state]
                end = min(at // 4 * 4 + 4, stop)
                before = at
                if kind == flag:
                    has_flag = False
                    at = at if symbol else stop
                elif kind == mask:
                    ones = [at + i for i in range(4) if symbol >> i & 1]
                    if value not in self.kinds:
                        for one in ones:
                            self.codes[row * self.columns + one] = 1 - 2 * lane.take(1)
                        ones = []
                    at = ones[0] if ones else end
                else:
                    self.codes[row * self.columns + at] = self._value(lane, symbol, row)
                    ones = ones[1:]
                    at = at + 1 if mask not in self.kinds else ones[0] if ones else end
                if number < len(groups) - 1 or at < stop:
                    width = self.log + 1 - low.bit_length()
                    state = (low << width) - (1 << self.log) + lane.take(width)
                yield at - before

    def _value(self, lane: _TansLane, symbol: int, row: int) -> int:
        least, raw_bits, has_sign, negative = (row[symbol] for row in self.symbols)
        minus = lane.take(1) if has_sign else negative
        size = least + lane.take(raw_bits - has_sign)
        size += self.skip[row] if size else 0
        return -size if minus else size


def walk_lane_tans(block: bytes, lanes: int) -> Walk:
    """A step is a token, with the word without which it could not be taken."""
    count = struct.unpack_from("<I", block, 4)[0]
    if len(block) == 16:
        parts = _parts(count, lanes)
        zeros = [[min(16, len(part) - at) for at in range(0, len(part), 16)] for part in parts]
        return [0] * count, 128, [[(0, size) for size in lane] for lane in zeros]
    tans = _TansBlock(block)
    header = tans.header
    sizes, odd = header.lane_bits.tolist(), header.preload.tolist()
    found = [_TansLane(*each) for each in zip(sizes, odd, strict=True)]
    groups = [tans.groups(lane) for lane in range(len(found))]
    walks = [tans.tokens(*each) for each in zip(found, groups, strict=True)]
    steps: list[Steps] = [[] for _ in found]
    needed = [-lane.held for lane in found]  # bits beyond those of the words that were needed
    active = [i for i in range(len(found)) if groups[i]]
    while active:
        for i in list(active):
            lane = found[i]
            if lane.held < 32 and lane.words_left:
                lane.bits |= tans.words.pop()[0] << lane.held
                lane.held += 32
                lane.words_left -= 1
            before = lane.held
            given = next(walks[i], None)
            if given is None:
                assert lane.held == lane.words_left == 0
                active.remove(i)
                continue
            needed[i] += before - lane.held
            word_bits = 32 if needed[i] > 0 else 0
            needed[i] -= word_bits
            steps[i].append((word_bits, given))
    assert not tans.words
    return tans.codes, 128 + 8 * header.num_bytes, _dealt(steps, lanes)


WALKS = {
    "bitmap": walk_bitmap,
    "csc": walk_csc,
    "dense_block": walk_dense_block,
    "huffman": walk_huffman,
    "lane_tans": walk_lane_tans,
    "nm": walk_nm,
    "palette": walk_fixed,
    "raw": walk_fixed,
    "rice": walk_rice,
    "zero_run": walk_zero_run,
}
