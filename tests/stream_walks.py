"""Blocks read bit by bit in plain Python, from the layouts that the codecs' docstrings give.

Shares no code with azsim.  A walk gives the codes and, for each stream or lane, its symbols: what
one cycle of a decoder lane takes in bits and gives in codes.
"""

from __future__ import annotations

import itertools
import struct

from lane_model import Symbols

__all__ = ["WALKS", "Walk"]

Walk = tuple[list[int], list[Symbols]]
"""Codes, and the symbols of each lane."""


class _Bits:
    """Reader of bits, least significant one of a byte first."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, width: int) -> int:
        first, self.at = self.at, self.at + width
        assert self.at <= 8 * len(self.data)
        chunk = self.data[first // 8 : (self.at + 7) // 8]
        return int.from_bytes(chunk, "little") >> first % 8 & ((1 << width) - 1)

    def align(self) -> None:
        self.at += -self.at % 8


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
            entries = self.payload.take(8) + 1
            self.palette = [_signed(self.payload.take(8), 8) for _ in range(entries)]
            self.width = max((entries - 1).bit_length(), min_width)

    def field(self) -> int:
        value = self.payload.take(self.width)
        return self.palette[value] if self.palette else _signed(value, self.width)


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def _shares(parts: list[Symbols], lanes: int) -> list[Symbols]:
    """Equal shares of parts, contiguous ones."""
    share = max(1, -(-len(parts) // lanes))
    starts = range(0, max(1, len(parts)), share)
    return [list(itertools.chain(*parts[start : start + share])) for start in starts]


def _dealt(parts: list[Symbols], lanes: int) -> list[Symbols]:
    """Lane i takes parts i, i + lanes and so on."""
    return [list(itertools.chain(*parts[lane::lanes])) for lane in range(min(lanes, len(parts)))]


def walk_csc(block: bytes, lanes: int) -> Walk:
    """A symbol is an entry; pointers are bits of the first entry that comes after them."""
    head = _Head(block)
    head.read_palette(0)
    take = head.payload.take
    columns = take(32)
    index_bits, stream_lanes, pointer_bits = take(4), take(12) + 1, take(8)
    counts = [[take(pointer_bits) for _ in range(columns)] for _ in range(stream_lanes)]
    codes = [0] * head.count
    rows = head.count // columns
    parts: list[Symbols] = []
    for lane in range(stream_lanes):
        symbols: Symbols = []
        pointers = 0
        for column in range(columns):
            row = lane
            pointers += pointer_bits
            for _ in range(counts[lane][column]):
                skipped = take(index_bits)
                row += skipped * stream_lanes
                codes[row * columns + column] = head.field()
                row += stream_lanes
                symbols.append((pointers + index_bits + head.width, skipped + 1))
                pointers = 0
            assert row - stream_lanes < rows
        parts.append(symbols)
    return codes, _dealt(parts, lanes)


def walk_nm(block: bytes, lanes: int) -> Walk:
    """A symbol is up to 4 values of a group, the first with the number of the set."""
    head = _Head(block)
    head.read_palette(1)
    take = head.payload.take
    columns, n, m = take(32), take(4) + 1, 1 << take(4)
    sets = sorted(itertools.combinations(range(m), n), key=lambda s: sum(1 << i for i in s))
    set_bits = (len(sets) - 1).bit_length()
    codes: list[int] = []
    parts: list[Symbols] = []
    for _ in range(head.count // columns):
        for start in range(0, columns, m):
            places = sets[take(set_bits)]
            group = [0] * m
            for place in places:
                group[place] = head.field()
            inside = min(m, columns - start)
            codes += group[:inside]
            symbols: Symbols = []
            for first in range(0, n, 4):
                bits = min(4, n - first) * head.width + (set_bits if first == 0 else 0)
                symbols.append((bits, inside if first + 4 >= n else 0))
            parts.append(symbols)
    return codes, _shares(parts, lanes)


def walk_dense_block(block: bytes, lanes: int) -> Walk:
    """A symbol is a block's mask bit and, if it is 1, up to 4 of its codes."""
    head = _Head(block)
    head.read_palette(1)
    take = head.payload.take
    columns, block_rows, block_cols = take(32), take(8) + 1, take(8) + 1
    rows = head.count // columns
    corners = list(itertools.product(range(0, rows, block_rows), range(0, columns, block_cols)))
    mask = [take(1) for _ in corners]
    head.payload.align()
    codes = [0] * head.count
    parts: list[Symbols] = []
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
    return codes, _shares(parts, lanes)


def _huffman_words(bits: _Bits, num: int) -> dict[tuple[int, int], int]:
    """Symbol of each (length, word) of a canonical code whose lengths come next."""
    lengths: list[int] = []
    for _ in range(num):
        before = lengths[-1] if lengths else 0
        if not bits.take(1):
            lengths.append(before)
        elif bits.take(1):
            lengths.append(bits.take(4))
        else:
            lengths.append(before - 1 if bits.take(1) else before + 1)
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
    """A symbol is a code word, of a code or of a run."""
    head = _Head(block)
    stream = head.payload
    segments, width = stream.take(4) + 1, stream.take(5)
    runs = _huffman_words(stream, 32) if head.flags & 2 else None
    words = _huffman_words(stream, 2**head.bits - 1)
    limit = 2 ** (head.bits - 1) - 1
    sizes = [stream.take(width) for _ in range(segments - 1)]
    share = -(-head.count // segments)
    codes: list[int] = []
    parts: list[Symbols] = []
    for segment in range(segments):
        stop = min((segment + 1) * share, head.count)
        symbols: Symbols = []
        while len(codes) < stop:
            if runs is not None:
                bits, run = _huffman_symbol(stream, runs)
                symbols.append((bits, run))
                codes += [0] * run
                if run == 31 or len(codes) == stop:
                    continue
            bits, symbol = _huffman_symbol(stream, words)
            symbols.append((bits, 1))
            codes.append(symbol - limit)
        if segment < segments - 1:
            assert sum(bits for bits, _ in symbols) == sizes[segment]
        parts.append(symbols)
    return codes, _dealt(parts, lanes)


def walk_rice(block: bytes, lanes: int) -> Walk:
    """A symbol is a slice header or a chunk."""
    head = _Head(block)
    data = head.payload.data
    streams = [data]
    if head.flags & 1:
        num = data[0] + 1
        sizes = struct.unpack_from(f"<{num}I", data, 1)
        ends = list(itertools.accumulate(sizes, initial=1 + 4 * num))
        streams = [data[start:end] for start, end in itertools.pairwise(ends)]
    codes: list[int] = []
    parts: list[Symbols] = []
    for stream in streams:
        bits = _Bits(stream)
        symbols: Symbols = []
        palette, direct = [], 0
        palette_bits = 0
        while (zdiv := bits.take(3)) != 7:
            start = bits.at - 3
            num, wdiv, trunc, new = bits.take(15) + 1, bits.take(3), bits.take(1), bits.take(1)
            if new:
                direct, entries = bits.take(5), bits.take(5)
                palette_bits = bits.take(3) + 2
                palette = [bits.take(palette_bits) for _ in range(entries + (entries > 0))]
            symbols.append((bits.at - start, 0))
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
                symbols.append((size, out - given))
                given = out
        parts.append(symbols)
    return codes, _dealt(parts, lanes)


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


WALKS = {
    "csc": walk_csc,
    "dense_block": walk_dense_block,
    "huffman": walk_huffman,
    "nm": walk_nm,
    "rice": walk_rice,
}
