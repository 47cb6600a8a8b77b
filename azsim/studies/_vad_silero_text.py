"""The answer of the study vad_silero in words and tables, all from its figures."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from azsim.studies import _vad_silero_points as points
from azsim.studies._vad_silero_points import (
    BITS,
    CHIP_CODEC,
    CHIPS,
    CODECS,
    GRID,
    SPARSITIES,
    Scheme,
    grid_key,
    percent,
)
from azsim.studies._write import Figure, table

__all__ = ["readme"]

_Figures = Mapping[str, Figure]


def readme(figures: _Figures, files: Mapping[str, str]) -> str:
    """Return the study's ``README.md``."""
    hashes = "\n".join(f"- `{name}`: sha256 `{files[name]}`" for name in sorted(files))
    parts = [
        "# How far can Silero VAD be compressed without retraining, and what does the chip gain?",
        _flow("""
            Made by `azsim study vad_silero -o reports/vad_silero`, and not edited by hand. Every
            number below, and those of the whole grid, are in [data.json](data.json).
        """),
        "## Answer",
        _answer(figures),
        "## Accuracy",
        _accuracy_text(figures),
        "![Error and decisions against bits](accuracy.svg)",
        "Scales per channel, activations 16 bit, each matrix pruned alone:",
        _grid_table(figures),
        _OTHERS_TEXT,
        _scheme_table((*points.OTHERS, *points.MIXED), figures),
        _NOT_STEADY_TEXT,
        _ALONE_TEXT,
        _alone_table(figures),
        "## Size",
        _SIZE_TEXT,
        "![Error against size](size.svg)",
        "![Bits per weight by codec](codecs.svg)",
        _size_table(figures),
        "## Cycles and DRAM traffic",
        _CHIPS_TEXT,
        "![Cycles and DRAM bytes by chip](chips.svg)",
        _chips_table(figures),
        _monotony(figures),
        "`az1_lite`, which streams its weights, by codec:",
        _lite_table(figures),
        "## What was run, and what is assumed",
        _method(figures),
        "Inputs:",
        hashes,
    ]
    return "\n\n".join(parts) + "\n"


def _flow(text: str) -> str:
    """Return a paragraph as one line."""
    return " ".join(text.split())


def _answer(figures: _Figures) -> str:
    def mean(key: str) -> str:
        return f"{figures[f'accuracy.{key}.mean_abs_error'].value:.4f}"

    def agree(key: str) -> str:
        return f"{figures[f'accuracy.{key}.decision_agreement'].value:.2f} %"

    def gain(chip: str, figure: str) -> str:
        start = f"chips.{chip}.{CHIP_CODEC[chip]}"
        before = figures[f"{start}.w8_s0.{figure}"].value
        after = figures[f"{start}.w8_s50.{figure}"].value
        return f"{100 * (1 - after / before):.0f} %"

    def size(key: str, codec: str) -> str:
        return f"{figures[f'chips.az1.{codec}.{key}.bits_per_weight'].value:.2f}"

    lines = (
        f"""
        8 bit weights with a scale per channel and 16 bit activations work: mean error
        {mean("w8_s0_a16")}, the same decision on {agree("w8_s0_a16")} of the frames. With 8 bit
        activations it is {mean("w8_s0_a8")} and {agree("w8_s0_a8")}; with one scale per tensor the
        detector is lost ({agree("w8_s0_a16_per_tensor")}).
        """,
        f"""
        Fewer bits beat pruning here: 6 bits unpruned ({mean("w6_s0_a16")} at {size("w6_s0", "raw")}
        bits a weight) are better and smaller than 8 bits with 25 % pruned ({mean("w8_s25_a16")} at
        {size("w8_s25", "bitmap")}); 5 bits are as good and smaller still ({mean("w5_s0_a16")} at
        {size("w5_s0", "bitmap")}). 4 bits give {mean("w4_s0_a16")}, with a scale for every 32
        weights {mean("w4_s0_a16_group32")}; 3 and 2 bits do not work.
        """,
        f"""
        50 % magnitude pruning without retraining costs too much: {mean("w8_s50_a16")} and
        {agree("w8_s50_a16")} at 8 bits; with 75 % the detector is lost. Pruning only the four
        convolutions to 50 % is bearable ({mean("mixed_convolutions50")},
        {agree("mixed_convolutions50")}).
        """,
        f"""
        50 % zeros at 8 bits save {gain("az1", "cycles")} of the cycles of az1, which keeps the
        model on the chip, and {gain("az1_lite", "cycles")} of az1_lite, which streams it
        ({gain("az1_lite", "dram_bytes")} of the DRAM bytes); of dense_npu
        {gain("dense_npu", "cycles")}.
        """,
        f"""
        A bitmap pays where more than one weight in *bits* is zero: at 8 bits unpruned it takes
        {size("w8_s0", "bitmap")} bits a weight and raw {size("w8_s0", "raw")}, at 50 %
        {size("w8_s50", "bitmap")}. zero_run is the smallest at 2 bits only. Neither codec nor chip
        changes an output bit.
        """,
    )
    return "\n".join(f"{number}. {_flow(line)}" for number, line in enumerate(lines, 1))


def _accuracy_text(figures: _Figures) -> str:
    speech = figures["yardstick.speech"].value
    first = f"""
        The model answers every 32 ms with the probability that somebody speaks. Its answers,
        simulated bit for bit on `az1`, are compared with those of onnxruntime running the original
        float32 model on the same {figures["yardstick.frames"].value} frames.
    """
    items = (
        "*mean*, *p99*, *max*: of the absolute difference of the two probabilities.",
        "*same decision*: share of frames where both are above 0.5, or both are not.",
        f"""
        *decides speech*: share of frames where the simulated probability is above 0.5;
        onnxruntime's share is {speech:.2f} %. So an answer that is always yes agrees on
        {speech:.2f} %, one that is always no on {100 - speech:.2f} %: rows near these numbers
        detect nothing.
        """,
    )
    return "\n".join([_flow(first), "", *(f"- {_flow(item)}" for item in items)])


_OTHERS_TEXT = """
Variants (activations 16 bit and scales per channel where nothing else is said). *One pool* prunes
the smallest weights of the whole model instead of the same share of every matrix. A scale is a
float32, so one for every 32 weights costs one bit a weight, as much as going from 4 to 5 bits,
which helps more. The last two treat matrices differently; they were chosen after looking at the
table of single matrices below, on this recording, so they flatter themselves a little.
""".replace("\n", " ").strip()

_NOT_STEADY_TEXT = """
Where errors are large they do not grow steadily: at 4 bits, half of the weights pruned is nearer to
the original than none pruned. One recording does not explain that, and it is no reason to prune.
""".replace("\n", " ").strip()

_ALONE_TEXT = """
Which matrix is it? One matrix is changed, everything else stays at 8 bit weights with a scale per
channel, 16 bit activations, nothing pruned. One scale per tensor loses the detector through the
last convolution alone. Mean absolute error:
""".replace("\n", " ").strip()

_SIZE_TEXT = """
Bits per weight as stored in the DRAM image of `az1`: codes, scales, tables, headers and padding,
over all 308,224 weights. *zeros* is the share of zero codes after quantization: few bits round many
weights to zero, so that at 3 and 2 bits the zeros that were asked for are mostly there without
pruning. *entropy* is the order-0 entropy of the codes per matrix, what an ideal code for
independent symbols would need, without scales. `az1_lite` cuts some matrices into other tiles; its
sizes are in data.json.
""".replace("\n", " ").strip()

_CHIPS_TEXT = f"""
One second of speech, 32 frames, frame by frame as they arrive. *cycles* are those of each chip's
own clock, without waiting for input, the start included; *start* is filling the weights that stay
on the chip; *DRAM* is all traffic in whole bursts, read and written. Codec `bitmap`; `dense_npu`
has no decoder, so its image holds `raw`. All
{len(GRID) * sum(len(points.codecs_of(chip)) for chip in CHIPS)} runs, with every codec, are in
data.json.
""".replace("\n", " ").strip()

_SCHEME_HEADS = ("mean", "p99", "max", "same decision", "decides speech")


def _scheme_cells(key: str, figures: _Figures) -> list[str]:
    start = f"accuracy.{key}"
    return [
        *(f"{figures[f'{start}.{name}_abs_error'].value:.4f}" for name in ("mean", "p99", "max")),
        f"{figures[f'{start}.decision_agreement'].value:.2f} %",
        f"{figures[f'{start}.speech'].value:.2f} %",
    ]


def _grid_table(figures: _Figures) -> str:
    rows = (
        [f"{bits} bit", percent(sparsity), *_scheme_cells(point.key, figures)]
        for (bits, sparsity), point in GRID.items()
    )
    return table(("weights", "pruned", *_SCHEME_HEADS), rows)


def _scheme_table(schemes: tuple[Scheme, ...], figures: _Figures) -> str:
    rows = (
        [
            point.label,
            f"{figures[f'accuracy.{point.key}.bits_per_weight'].value:.2f}",
            *_scheme_cells(point.key, figures),
        ]
        for point in schemes
    )
    return table(("scheme", "bits/weight (bitmap)", *_SCHEME_HEADS), rows)


def _alone_table(figures: _Figures) -> str:
    rows = (
        [
            f"`{matrix}` ({what})",
            *(
                f"{figures[f'accuracy.alone_{change}.{matrix}.mean_abs_error'].value:.4f}"
                for change in points.ALONE_CHANGES
            ),
        ]
        for matrix, what in points.MATRICES.items()
    )
    return table(
        ("matrix", "50 % pruned", "4 bit weights", "8 bit activations", "one scale per tensor"),
        rows,
    )


def _size_table(figures: _Figures) -> str:
    rows = (
        [
            f"{bits} bit",
            percent(sparsity),
            f"{figures[f'weights.{key}.zeros'].value:.1f} %",
            f"{figures[f'weights.{key}.entropy'].value:.2f}",
            *(
                f"{figures[f'chips.az1.{codec}.{key}.bits_per_weight'].value:.2f}"
                for codec in CODECS
            ),
        ]
        for bits, sparsity in GRID
        for key in [grid_key(bits, sparsity)]
    )
    return table(("weights", "pruned", "zeros", "entropy", *CODECS), rows)


def _monotony(figures: _Figures) -> str:
    """Say whether more zeros always meant fewer cycles, as one would expect."""
    steps = [
        (
            f"chips.{chip}.{codec}.{grid_key(bits, low)}",
            f"chips.{chip}.{codec}.{grid_key(bits, high)}",
        )
        for chip in CHIPS
        for codec in points.codecs_of(chip)
        for bits in BITS
        for low, high in pairwise(SPARSITIES)
    ]
    ratios = {
        (low, high): figures[f"{high}.cycles"].value / figures[f"{low}.cycles"].value
        for low, high in steps
    }
    worse = [ratio for ratio in ratios.values() if ratio > 1]
    if not worse:
        return f"No step to more zeros took more cycles, in {len(steps)} steps."
    _, high = max(ratios, key=lambda step: ratios[step])
    chip, codec, scheme = high.split(".")[1:]
    return _flow(f"""
        More zeros did not always mean fewer cycles: {len(worse)} of {len(steps)} steps to the next
        sparsity (all chips, codecs and bits) took more, at worst {100 * (max(worse) - 1):.1f} %
        (`{chip}`, `{codec}`, `{scheme}`).
    """)


def _chips_table(figures: _Figures) -> str:
    heads = ["weights", "pruned"]
    for chip in CHIPS:
        heads += [f"{chip} cycles", "start", "DRAM kB"]
    rows = []
    for bits, sparsity in GRID:
        row = [f"{bits} bit", percent(sparsity)]
        for chip, codec in CHIP_CODEC.items():
            start = f"chips.{chip}.{codec}.{grid_key(bits, sparsity)}"
            row.append(f"{figures[f'{start}.cycles'].value:,}")
            row.append(f"{figures[f'{start}.startup_cycles'].value:,}")
            row.append(f"{figures[f'{start}.dram_bytes'].value / 1000:,.0f}")
        rows.append(row)
    return table(heads, rows)


def _lite_table(figures: _Figures) -> str:
    heads = ["weights", "pruned"]
    for codec in CODECS:
        heads += [f"{codec} cycles", "DRAM kB"]
    rows = []
    for bits, sparsity in GRID:
        row = [f"{bits} bit", percent(sparsity)]
        for codec in CODECS:
            start = f"chips.az1_lite.{codec}.{grid_key(bits, sparsity)}"
            row.append(f"{figures[f'{start}.cycles'].value:,}")
            row.append(f"{figures[f'{start}.dram_bytes'].value / 1000:,.0f}")
        rows.append(row)
    return table(heads, rows)


def _method(figures: _Figures) -> str:
    short = [
        figures[f"independence.1s.{grid_key(*point)}.different_outputs"].value for point in GRID
    ]
    same = sum(1 for count in short if count == 1)
    long_runs = figures["independence.60s.runs"].value
    long_outputs = figures["independence.60s.different_outputs"].value
    outputs = "output" if long_outputs == 1 else "outputs"
    items = (
        """
        Model: Silero VAD 6.2.3, 16 kHz, 308,224 weights in eight matrices (short-time Fourier
        transform, four convolutions, LSTM, output). Accuracy: workload `vad_silero_60s`, one
        recording of one minute: it shows differences between schemes, it is no benchmark of the
        detector. Chips: workload `vad_silero`, one second.
        """,
        """
        Quantization is symmetric, to the nearest code, with the scale from the largest magnitude;
        pruning takes the smallest magnitudes. No retraining, no calibration, no tuning of clipping:
        they may well make fewer bits and more zeros possible.
        """,
        f"""
        Accuracy is that of the executed program, not of an estimate. It does not depend on codec or
        chip, and this was checked: the minute at 8 bits, 50 % pruned, was run on every chip with
        every codec, {long_runs} runs, and gave {long_outputs} distinct {outputs}; for the second,
        all chips and codecs gave the same bits in {same} of {len(short)} schemes.
        """,
        """
        Assumption: every number of the four presets (clock, SRAM, DRAM, lanes), as nothing of the
        real parts is public; `azsim/hardware/presets/` says so line by line. Cycles of different
        chips are of different clocks.
        """,
        """
        Exact: output bits, encoded sizes, DRAM bytes of the program as compiled. Modelled: cycles.
        """,
        """
        onnxruntime's last bits may depend on the host, so errors are rounded to 4 decimals and
        remaking gives the same files.
        """,
    )
    return "\n".join(f"- {_flow(item)}" for item in items)
