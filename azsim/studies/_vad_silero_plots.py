"""The plots of the study vad_silero, all from its figures."""

from __future__ import annotations

from collections.abc import Mapping

from azsim.studies import _vad_silero_points as points
from azsim.studies._svg import Axis, Line, Panel, chart
from azsim.studies._vad_silero_points import (
    BITS,
    CHIP_CODEC,
    CODECS,
    GRID,
    SPARSITIES,
    Scheme,
    grid_key,
    percent,
)
from azsim.studies._write import Figure

__all__ = ["plots"]

_Figures = Mapping[str, Figure]


def plots(figures: _Figures) -> dict[str, str]:
    """Return the plots by file name."""
    return {
        "accuracy.svg": _accuracy_plot(figures),
        "size.svg": _size_plot(figures),
        "codecs.svg": _codecs_plot(figures),
        "chips.svg": _chips_plot(figures),
    }


_ERRORS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_ERROR_AXIS = Axis(
    "mean absolute error (probability)", _ERRORS, tuple(f"{e:g}" for e in _ERRORS), log=True
)
_PRUNED_AXIS = Axis("pruned weights (%)", SPARSITIES, tuple(f"{100 * s:g}" for s in SPARSITIES))


def _accuracy_plot(figures: _Figures) -> str:
    axis = Axis(
        "bits per weight code",
        tuple(float(place) for place in range(len(BITS))),
        tuple(str(bits) for bits in BITS),
    )

    def lines(name: str) -> tuple[Line, ...]:
        return tuple(
            Line(
                f"{percent(sparsity)} pruned",
                tuple(
                    (place, figures[f"accuracy.{GRID[bits, sparsity].key}.{name}"].value, "")
                    for place, bits in enumerate(BITS)
                ),
            )
            for sparsity in SPARSITIES
        )

    shares = tuple(float(share) for share in range(20, 101, 10))
    agreement = Axis("same decision at 0.5 (% of frames)", shares, tuple(f"{s:g}" for s in shares))
    return chart(
        "Silero VAD without retraining, against onnxruntime in float32",
        [
            Panel("Error", axis, _ERROR_AXIS, lines("mean_abs_error")),
            Panel("Decisions", axis, agreement, lines("decision_agreement")),
        ],
    )


def _size_plot(figures: _Figures) -> str:
    def point(scheme: Scheme, text: str) -> tuple[float, float, str]:
        start = f"accuracy.{scheme.key}"
        return (
            figures[f"{start}.bits_per_weight"].value,
            figures[f"{start}.mean_abs_error"].value,
            text,
        )

    errors = tuple(error for error in _ERRORS if 0.002 <= error <= 0.2)
    lines = [
        Line(
            f"{percent(sparsity)} pruned",
            tuple(point(GRID[bits, sparsity], str(bits)) for bits in BITS if bits >= 4),
            beside="left" if sparsity == 0.25 else "above",
        )
        for sparsity in SPARSITIES
        if sparsity < 0.75
    ]
    grouped = [scheme for scheme in points.OTHERS if scheme.key.startswith("w4")]
    marks = ("per 16", "per 32", "per 64", "per 32, 25 % pruned", "per 32, 50 % pruned")
    lines.append(
        Line(
            "4 bit, a scale per group",
            tuple(point(scheme, mark) for scheme, mark in zip(grouped, marks, strict=True)),
            style="points",
        )
    )
    mixed = tuple(
        point(scheme, mark)
        for scheme, mark in zip(points.MIXED, ("pruned convolutions", "4 bit LSTM"), strict=True)
    )
    lines.append(Line("8 bit, mixed", mixed, style="points", beside="below"))
    return chart(
        "Error against size: lower and further left is better",
        [
            Panel(
                "Numbers are bits per weight code; schemes with larger errors are left out",
                Axis(
                    "bits per weight in DRAM, codec bitmap, scales included",
                    tuple(float(bits) for bits in range(2, 10)),
                    tuple(str(bits) for bits in range(2, 10)),
                ),
                Axis(_ERROR_AXIS.label, errors, tuple(f"{e:g}" for e in errors), log=True),
                tuple(lines),
            )
        ],
    )


def _codecs_plot(figures: _Figures) -> str:
    ticks = tuple(float(bits) for bits in range(0, 13, 2))
    axis = Axis("bits per weight in DRAM", ticks, tuple(f"{tick:g}" for tick in ticks))

    def panel(bits: int) -> Panel:
        lines = [
            Line(
                codec,
                tuple(
                    (s, figures[f"chips.az1.{codec}.{grid_key(bits, s)}.bits_per_weight"].value, "")
                    for s in SPARSITIES
                ),
                style="dashed" if codec == "bitmap+palette" else "solid",
            )
            for codec in CODECS
        ]
        lines.append(
            Line(
                "entropy of the codes",
                tuple(
                    (s, figures[f"weights.{grid_key(bits, s)}.entropy"].value, "")
                    for s in SPARSITIES
                ),
                style="dashed",
            )
        )
        return Panel(f"{bits} bit", _PRUNED_AXIS, axis, tuple(lines))

    return chart("Size by codec, az1", [panel(bits) for bits in (8, 4, 2)])


def _chips_plot(figures: _Figures) -> str:
    def lines(name: str, unit: float) -> tuple[Line, ...]:
        return tuple(
            Line(
                chip,
                tuple(
                    (s, figures[f"chips.{chip}.{codec}.{grid_key(8, s)}.{name}"].value / unit, "")
                    for s in SPARSITIES
                ),
                style="dashed" if chip == "az2" else "solid",
            )
            for chip, codec in CHIP_CODEC.items()
        )

    cycles = (0.1, 0.2, 0.5, 1.0, 2.0)
    megabytes = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
    return chart(
        "8 bit weights, one second of speech (bitmap; dense_npu: raw)",
        [
            Panel(
                "Cycles",
                _PRUNED_AXIS,
                Axis(
                    "million cycles of its own clock",
                    cycles,
                    tuple(f"{c:g}" for c in cycles),
                    log=True,
                ),
                lines("cycles", 1e6),
            ),
            Panel(
                "DRAM traffic",
                _PRUNED_AXIS,
                Axis(
                    "MB read and written", megabytes, tuple(f"{m:g}" for m in megabytes), log=True
                ),
                lines("dram_bytes", 1e6),
            ),
        ],
    )
