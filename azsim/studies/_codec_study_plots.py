"""The plots of the study codec_study, all from its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from azsim.studies._codec_study_sets import BITS, DISTRIBUTIONS, SCHEMES, SHARES, STRUCTURES
from azsim.studies._svg import Axis, Line, Panel, chart
from azsim.studies._write import Figure

__all__ = ["plots"]

_Figures = Mapping[str, Figure]
_CODECS = ("bitmap", "zero_run", "huffman", "rice", "lane_tans")
_LINES = ("raw", "bitmap", "zero_run", "huffman", "rice", "lane_tans")
_MAGNITUDE = ("s0", "s50", "s75", "s90")


def plots(figures: _Figures) -> dict[str, str]:
    """Return the plots by file name."""
    return {
        "size.svg": _size_plot(figures),
        "decode.svg": _decode_plot(figures),
        "silero.svg": _silero_plot(figures),
    }


def _axis(label: str, ticks: tuple[float, ...]) -> Axis:
    return Axis(label, ticks, tuple(f"{tick:g}" for tick in ticks))


def _synthetic() -> Iterator[str]:
    """Names of the synthetic sets without structure."""
    for distribution in DISTRIBUTIONS:
        for bits in BITS:
            for structure in _MAGNITUDE:
                yield f"{distribution}.b{bits}.{structure}"


def _size_plot(figures: _Figures) -> str:
    entropy = _axis("order-0 entropy (bits per weight)", tuple(map(float, range(9))))
    size = _axis("bits per weight, everything counted", tuple(map(float, range(0, 13, 2))))
    over = _axis("above the entropy (%)", (-10.0, 0.0, 10.0, 20.0, 30.0, 40.0, 50.0))

    def points(codec: str, *, relative: bool) -> Iterator[tuple[float, float, str]]:
        for name in _synthetic():
            lowest = figures[f"{name}.entropy"].value
            found = figures.get(f"{name}.{codec}.bits_per_weight")
            if found is not None and lowest > 0:
                excess = 100 * (found.value / lowest - 1)
                if not relative or excess <= over.ticks[-1]:
                    yield lowest, excess if relative else found.value, ""

    return chart(
        "Synthetic weights, 2 to 8 bits, 0 to 90 % zeros: each point is one set",
        [
            Panel(
                "Size",
                entropy,
                size,
                tuple(Line(c, tuple(points(c, relative=False)), "points") for c in _CODECS),
            ),
            Panel(
                "Distance, up to 50 %",
                entropy,
                over,
                tuple(Line(c, tuple(points(c, relative=True)), "points") for c in _CODECS),
            ),
        ],
    )


def _decode_plot(figures: _Figures) -> str:
    texts = tuple(STRUCTURES[structure][0].removesuffix(" %") for structure in _MAGNITUDE)
    zeros = Axis("zeros (%)", tuple(float(text) for text in texts), texts)
    rate = _axis("weights per cycle", tuple(float(value) for value in range(0, 129, 16)))

    def line(codec: str, bits: int) -> Line:
        found = (
            (place, figures.get(f"laplace.b{bits}.{structure}.{codec}.weights_per_cycle"))
            for place, structure in zip(zeros.ticks, _MAGNITUDE, strict=True)
        )
        return Line(codec, tuple((x, figure.value, "") for x, figure in found if figure))

    return chart(
        "Decoding Laplace weights with 16 lanes on a bus of 128 bits",
        [
            Panel(f"{bits} bit", zeros, rate, tuple(line(codec, bits) for codec in _LINES))
            for bits in (8, 4)
        ],
    )


def _silero_plot(figures: _Figures) -> str:
    """Sizes on trained tensors, against Arm's codec or, without it, against the entropy."""
    names = [
        name.removesuffix(".entropy")
        for name in figures
        if name.endswith(".entropy")
        and name.split(".")[-3] in SCHEMES
        and name.split(".")[-2] in {f"s{round(100 * share)}" for share in SHARES}
        and name.startswith("silero.")
        and ".lstm." not in name
    ]
    has_arm = all(f"{name}.mlw.bits_per_weight" in figures for name in names)
    codecs = ("bitmap", "huffman", "rice", "lane_tans")

    def points(codec: str) -> Iterator[tuple[float, float, str]]:
        for name in names:
            yardstick = figures[
                f"{name}.mlw.bits_per_weight" if has_arm else f"{name}.entropy"
            ].value
            found = figures.get(f"{name}.{codec}.bits_per_weight")
            if found is not None:
                yield (
                    figures[f"{name}.entropy"].value,
                    100 * (found.value / yardstick - 1),
                    "",
                )

    against = "mlw_codec" if has_arm else "order-0 entropy"
    return chart(
        f"Seven tensors of Silero VAD, 8 and 4 bits, 0 to 75 % pruned, against {against}",
        [
            Panel(
                "Below 0 is smaller",
                _axis("order-0 entropy (bits per weight)", tuple(map(float, range(9)))),
                _axis(
                    f"bytes against {against} (%)",
                    tuple(float(value) for value in range(-50, 51, 10)),
                ),
                tuple(Line(codec, tuple(points(codec)), "points") for codec in codecs),
            )
        ],
    )
