"""The answer of the study rnnt_compression in words, tables and plots, all from its figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from azsim.studies._rnnt_compression_points import (
    BITS,
    CHIPS,
    CHUNKS,
    CODECS,
    FEATURE_FRAMES,
    FRAME_S,
    RESIDENT_BYTES,
    SPARSITIES,
    Point,
    chunks_of,
    codecs_of,
    points,
    scheme_key,
)
from azsim.studies._svg import Axis, Line, Panel, chart
from azsim.studies._write import Figure, table

__all__ = ["plots", "readme"]

_Figures = Mapping[str, Figure]
_ENGINES = {
    "dram": "DRAM",
    "decoder": "decoder",
    "mac": "MAC array",
    "vector": "vector engine",
}
_WELL_ABOVE = 1.1
_SCHEMES = [(bits, sparsity) for bits in BITS for sparsity in SPARSITIES]


_QUESTION = (
    "When do bits per weight set the latency of a recurrent transducer, "
    "and when does skipping zeros?"
)


def _of(figures: _Figures, point: Point, name: str) -> float:
    return figures[f"{point.key}.{name}"].value


def _binds(figures: _Figures, point: Point) -> str:
    """The engine with the largest lower bound; the decoder only if it is well above DRAM.

    The decoder's bound is that of whole loads, DRAM's pace included.
    """
    bounds = {name: _of(figures, point, f"bound_{name}") for name in _ENGINES}
    if bounds["decoder"] < _WELL_ABOVE * bounds["dram"]:
        del bounds["decoder"]
    return max(bounds, key=bounds.__getitem__)


def _transfer(figures: _Figures, point: Point) -> float:
    return max(_of(figures, point, f"bound_{name}") for name in ("dram", "decoder"))


def _best(figures: _Figures, bits: int, sparsity: float, chunk_frames: int) -> Point:
    """The fastest codec of az1 for a scheme."""
    some = [Point("az1", codec, bits, sparsity, chunk_frames) for codec in CODECS]
    return min(some, key=lambda point: _of(figures, point, "frame_ms"))


def _scheme(bits: int, sparsity: float) -> str:
    return f"{bits} bit, {round(100 * sparsity)} % zeros"


def _flow(text: str) -> str:
    return " ".join(text.split())


# ------------------------------------------------------------------------------------- text


def readme(figures: _Figures) -> str:
    """Return the study's ``README.md``."""
    parts = [
        f"# {_QUESTION}",
        _flow("""
            Made by `azsim study rnnt_compression -o reports/rnnt_compression`, and not edited by
            hand. Every number below, and those of all runs, are in [data.json](data.json).
        """),
        "## Answer",
        _answer(figures),
        "## Chips that stream the weights",
        _STREAMED_TEXT,
        "![Time of a frame against stored bits](bits.svg)",
        "az1, one frame at a time, by codec; milliseconds of work a frame:",
        _codec_table(figures),
        "az1 with the fastest codec of each scheme, one frame at a time:",
        _scheme_table(figures),
        "dense_npu, which stores codes as they are and skips nothing:",
        _dense_table(figures),
        "## Chunks",
        _CHUNK_TEXT,
        _chunk_table(figures),
        "## A chip that holds the weights",
        _flow(f"""
            `az1_resident` is az1 with {RESIDENT_BYTES >> 20} MiB of weight SRAM: a chip that nobody
            would build for this model, to see what is left when no weight has to be brought. Codec
            bitmap; filling the SRAM once is left out.
        """),
        "![Time of a frame where weights stay](resident.svg)",
        _resident_table(figures),
        "## What was run, and what is assumed",
        _method(),
    ]
    return "\n\n".join(parts) + "\n"


def _answer(figures: _Figures) -> str:
    streamed = [point for point in points() if point.chip != "az1_resident"]
    by_transfer = [p for p in streamed if _binds(figures, p) in ("dram", "decoder")]
    one = [point for point in streamed if point.chip == "az1" and point.chunk_frames == 1]
    slow = max(one, key=lambda point: _of(figures, point, "frame_ms"))
    fast = min(one, key=lambda point: _of(figures, point, "frame_ms"))
    usual = Point("az1", "bitmap", 8, 0.5, 1)
    needed = _transfer(figures, usual) / _of(figures, usual, "bound_mac")
    busy = max(_of(figures, p, "bound_mac") / _of(figures, p, "cycles") for p in one)
    dense = [Point("dense_npu", "raw", 8, sparsity, 1) for sparsity in SPARSITIES]
    held = [Point("az1_resident", "bitmap", 8, sparsity, 1) for sparsity in SPARSITIES]
    held_ms = [_of(figures, point, "frame_ms") for point in held]
    four = _of(figures, Point("az1_resident", "bitmap", 4, 0.0, 1), "frame_ms")
    many = _of(figures, Point("az1_resident", "bitmap", 8, 0.0, 16), "frame_ms")
    chunks = [_best(figures, 8, 0.5, count) for count in CHUNKS]
    by_decoder = [p for p in one if _binds(figures, p) == "decoder"]
    rates = sorted({round(_of(figures, point, "frame_ms"), 2) for point in dense})
    lines = (
        f"""
        **Bits per weight set the latency wherever weights are streamed**, which for a recurrent
        layer at batch 1 is wherever they do not fit: in {len(by_transfer)} of {len(streamed)} runs
        on az1 and dense_npu the bound of DRAM or decoder is the largest. On az1, one frame at a
        time, a frame takes from {_of(figures, slow, "frame_ms"):.2f} ms at
        {_of(figures, slow, "bits_per_weight"):.2f} stored bits a weight to
        {_of(figures, fast, "frame_ms"):.2f} ms at {_of(figures, fast, "bits_per_weight"):.2f}; the
        array has work for at most {100 * busy:.0f} % of the time.
        """,
        f"""
        **Skipping sets it only where a weight is used often enough.** At 8 bits, 50 % zeros, codec
        bitmap, each weight that is brought would have to serve {needed:.0f} times as many products
        as it does ({_of(figures, usual, "weight_reuse"):.1f} a byte) before the array took as long
        as the transfer. Chunks do not get there: only the input half of a layer can be shared
        between frames, the recurrent half is brought for every step.
        """,
        f"""
        Where all weights stay on the chip, skipping sets it: at 8 bits a frame takes
        {held_ms[0]:.3f} ms dense, {held_ms[1]:.3f} ms with 50 % zeros and {held_ms[2]:.3f} ms with
        75 %. Fewer bits help there as far as the array is wider for them: {four:.3f} ms at 4 bits
        dense. Chunks cost instead of saving ({many:.3f} ms dense in chunks of 16), as intermediate
        results go through DRAM.
        """,
        f"""
        Zeros gain dense_npu nothing: {rates[0]:.2f} to {rates[-1]:.2f} ms a frame at 8 bits,
        whatever the share of zeros (the random model says more or fewer symbols); bits do.
        """,
        f"""
        Chunks of {", ".join(str(point.chunk_frames) for point in chunks)} frames take
        {", ".join(f"{_of(figures, point, 'frame_ms'):.2f}" for point in chunks)} ms of work a frame
        (8 bit, 50 % zeros, fastest codec), and their first frame waits for the last: the chunk of
        16 answers {_of(figures, chunks[-1], "chunk_ms_p50"):.0f} ms after its last frame arrived,
        {CHUNKS[-1] * FRAME_S * 1e3:.0f} ms after its first began.
        """,
        f"""
        The smallest stream is not always the fastest: in {len(by_decoder)} of {len(one)} runs on
        az1 with single frames the decoder's bound is more than a tenth above DRAM's, so that its
        lanes set the pace and not the bytes. Which codec wins, by scheme, is in the tables.
        """,
        f"""
        Accuracy (signal to quantization noise of the encoder's output against the float model,
        random weights, nothing retrained): {_accuracy(figures)}. They say
        nothing of a trained model: the random LSTMs are as large as keeps five layers alive, and
        errors grow from frame to frame (docs/models.md).
        """,
    )
    return "\n".join(f"{number}. {_flow(line)}" for number, line in enumerate(lines, 1))


def _sqnr(figures: _Figures, bits: int, sparsity: float) -> str:
    return f"{figures[f'weights.{scheme_key(bits, sparsity)}.sqnr'].value + 0.0:.1f}"


def _accuracy(figures: _Figures) -> str:
    return ", ".join(f"{_sqnr(figures, *scheme)} dB at {_scheme(*scheme)}" for scheme in _SCHEMES)


_STREAMED_TEXT = _flow("""
    *ms a frame*: cycles of the run without the filling of the SRAM and without waiting for input,
    over frames, at the chip's clock. *bits/weight*: blocks with headers and scales over weights.
    *MB/s*: whole bursts read and written per second of audio. *real time*: busy time over audio
    time. *reuse*: products with weights per byte of weights read. *binds*: the engine with the
    largest lower bound on necessary work; the decoder's bound is that of whole loads, DRAM's pace
    included, so that it is named only where it is more than a tenth above DRAM's.
""")

_CHUNK_TEXT = _flow("""
    A chunk is computed when its last frame has arrived. *latency*: from then to its last output,
    median. Weights of the input half of an LSTM layer are read once a chunk, those of the recurrent
    half once a step; intermediate results that do not fit activation SRAM go through DRAM.
    Codec: the fastest for the scheme at each chunk size.
""")


def _ms(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def _codec_table(figures: _Figures) -> str:
    rows = []
    for bits, sparsity in _SCHEMES:
        cells = [f"{bits} bit", f"{round(100 * sparsity)} %"]
        for codec in CODECS:
            point = Point("az1", codec, bits, sparsity, 1)
            ms, stored = (_of(figures, point, name) for name in ("frame_ms", "bits_per_weight"))
            cells.append(f"{_ms(ms)} ({stored:.2f} bits, {_ENGINES[_binds(figures, point)]})")
        rows.append(cells)
    return table(("weights", "zeros", *CODECS), rows)


def _row(figures: _Figures, point: Point, *first: str) -> list[str]:
    return [
        *first,
        f"{_of(figures, point, 'bits_per_weight'):.2f}",
        _ms(_of(figures, point, "frame_ms")),
        f"{_of(figures, point, 'dram_mb_per_s'):.0f}",
        f"{_of(figures, point, 'real_time_factor'):.3f}",
        f"{_of(figures, point, 'weight_reuse'):.1f}",
        f"{_of(figures, point, 'weight_sram') / 1024:.0f}",
        f"{_of(figures, point, 'activation_sram') / 1024:.0f}",
        _ENGINES[_binds(figures, point)],
        _sqnr(figures, point.bits, point.sparsity),
    ]


_HEADS = (
    "bits/weight",
    "ms a frame",
    "MB/s",
    "real time",
    "reuse",
    "weight SRAM KiB",
    "activation SRAM KiB",
    "binds",
    "SQNR dB",
)


def _rows(figures: _Figures, some: Iterable[Point]) -> list[list[str]]:
    return [
        _row(figures, p, f"{p.bits} bit", f"{round(100 * p.sparsity)} %", p.codec) for p in some
    ]


def _scheme_table(figures: _Figures) -> str:
    best = [_best(figures, bits, sparsity, 1) for bits, sparsity in _SCHEMES]
    return table(("weights", "zeros", "codec", *_HEADS), _rows(figures, best), texts=3)


def _dense_table(figures: _Figures) -> str:
    some = [Point("dense_npu", "raw", bits, sparsity, 1) for bits, sparsity in _SCHEMES]
    return table(("weights", "zeros", "codec", *_HEADS), _rows(figures, some), texts=3)


def _chunk_table(figures: _Figures) -> str:
    rows = []
    for chip in ("az1", "dense_npu"):
        for bits, sparsity in _SCHEMES:
            cells = [chip, f"{bits} bit", f"{round(100 * sparsity)} %"]
            for count in CHUNKS:
                point = (
                    _best(figures, bits, sparsity, count)
                    if chip == "az1"
                    else Point(chip, "raw", bits, sparsity, count)
                )
                cells.append(_ms(_of(figures, point, "frame_ms")))
                cells.append(f"{_of(figures, point, 'chunk_ms_p50'):.1f}")
                cells.append(f"{_of(figures, point, 'weight_reuse'):.1f}")
            rows.append(cells)
    heads = [
        text for count in CHUNKS for text in (f"chunk {count}: ms a frame", "latency ms", "reuse")
    ]
    return table(("chip", "weights", "zeros", *heads), rows, texts=3)


def _resident_table(figures: _Figures) -> str:
    rows = []
    for bits, sparsity in _SCHEMES:
        cells = [f"{bits} bit", f"{round(100 * sparsity)} %"]
        for count in chunks_of("az1_resident"):
            point = Point("az1_resident", "bitmap", bits, sparsity, count)
            cells.append(f"{_of(figures, point, 'frame_ms'):.3f}")
        rows.append(cells)
    return table(
        (
            "weights",
            "zeros",
            *(f"chunk {count}: ms a frame" for count in chunks_of("az1_resident")),
        ),
        rows,
        texts=2,
    )


def _method() -> str:
    lines = (
        f"""
        Model: MLPerf's RNN-T (workload `speech_rnnt_mlperf`), 45.3 million weights, seeded random
        with heavy tails; {FEATURE_FRAMES} random feature frames of 30 ms, in chunks of
        {", ".join(map(str, CHUNKS))} frames of {FRAME_S * 1e3:.0f} ms; arrival paced.
        """,
        """
        Every point is simulated: streams are decoded, products computed, outputs the same bits on
        every chip. Cycles are by the fast timing model (see the study timing_agreement).
        """,
        """
        Weights pruned by magnitude, each matrix alone; scales per channel; activations 8 bit
        with a scale for each row. 5 bit weights run on the array as 8 bit ones.
        """,
        f"""
        Assumption: every figure of the chips {", ".join(CHIPS)}, as their presets say; the model's
        weights and its input, which are random.
        Codecs: {", ".join(CODECS)}; `lane_tans` is the smallest in the tree. dense_npu decodes
        nothing and its image holds {codecs_of("dense_npu")[0]}.
        """,
    )
    return "\n".join(f"- {_flow(line)}" for line in lines)


# ------------------------------------------------------------------------------------ plots


def plots(figures: _Figures) -> dict[str, str]:
    """Return the plots by file name."""
    return {"bits.svg": _bits_plot(figures), "resident.svg": _resident_plot(figures)}


def _bits_plot(figures: _Figures) -> str:
    ticks = tuple(float(bits) for bits in range(13))
    bits_axis = Axis("stored bits per weight", ticks, tuple(f"{tick:g}" for tick in ticks))
    times = tuple(float(ms) for ms in range(0, 29, 4))
    axis = Axis("work a frame (ms)", times, tuple(f"{ms:g}" for ms in times))

    def line(chip: str, codec: str, count: int) -> Line:
        some = [Point(chip, codec, bits, sparsity, count) for bits, sparsity in _SCHEMES]
        places = sorted(
            (_of(figures, p, "bits_per_weight"), _of(figures, p, "frame_ms"), "") for p in some
        )
        label = codec if chip == "az1" else f"{codec} on {chip}"
        return Line(label, tuple(places), style="points")

    kinds = [(chip, codec) for chip in ("az1", "dense_npu") for codec in codecs_of(chip)]
    return chart(
        "Time of a frame against stored bits: what is streamed is what it takes",
        [
            Panel(
                f"chunks of {count}" if count > 1 else "single frames",
                bits_axis,
                axis,
                tuple(line(chip, codec, count) for chip, codec in kinds),
            )
            for count in (1, 16)
        ],
    )


def _resident_plot(figures: _Figures) -> str:
    zeros = Axis("zeros (%)", SPARSITIES, tuple(f"{100 * s:g}" for s in SPARSITIES))
    ticks = tuple(tenth / 10 for tenth in range(7))
    axis = Axis("work a frame (ms)", ticks, tuple(f"{tick:g}" for tick in ticks))
    lines = tuple(
        Line(
            f"{bits} bit",
            tuple(
                (s, _of(figures, Point("az1_resident", "bitmap", bits, s, 1), "frame_ms"), "")
                for s in SPARSITIES
            ),
            style="dashed" if bits == 5 else "solid",
        )
        for bits in BITS
    )
    title = "az1 with room for all weights, single frames: zeros set the time of a frame"
    return chart(title, [Panel("", zeros, axis, lines)])
