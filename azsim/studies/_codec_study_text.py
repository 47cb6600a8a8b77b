"""The answer of the study codec_study in words and tables, all from its figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from azsim.studies._codec_study_sets import (
    BITS,
    DISTRIBUTIONS,
    LEAST_WEIGHTS,
    REFERENCE,
    SCHEMES,
    SHARES,
    STRUCTURES,
)
from azsim.studies._write import Figure, table

__all__ = ["readme"]

_Figures = Mapping[str, Figure]
_BEST, _ARM, _PATENTS = "lane_tans", "mlw", "bitmap+palette"
_NONE = "-"
_TITLE = (
    "# Which codec stores pruned, quantized weights in the fewest bits, and what does its decoder "
    "cost?"
)
_ROW = "silero.lstm.b8.s75"
_SIZES = ("table_bits", "register_bits", "multiplexers", "adders", "comparators")


def readme(figures: _Figures, files: Mapping[str, str]) -> str:
    """Return the study's ``README.md``."""
    hashes = "\n".join(f"- `{name}`: sha256 `{files[name]}`" for name in sorted(files))
    parts = [
        _TITLE,
        _flow("""
            Made by `azsim study codec_study -o reports/codec_study`, and not edited by hand.
            Every number below is in [data.json](data.json). The same table for a file of your own:
            `azsim codecs FILE`.
        """),
        "## Answer",
        _answer(figures),
        "## Reference matrices",
        _REFERENCE_TEXT + ("" if _has_arm(figures) else " " + _NO_ARM_TEXT),
        _reference_table(figures),
        "## Silero VAD, tensor by tensor",
        _SILERO_TEXT,
        "![Size of trained tensors](silero.svg)",
        _silero_table(figures),
        "All codecs, all seven tensors together (bits per weight):",
        _silero_codecs_table(figures),
        "## Synthetic weights",
        _SYNTHETIC_TEXT,
        "![Size against entropy](size.svg)",
        *(
            part
            for key, (title, _) in DISTRIBUTIONS.items()
            for part in (f"### {title}", _synthetic_table(key, figures))
        ),
        "## Decoders",
        _DECODER_TEXT,
        "![Weights per cycle](decode.svg)",
        "Weights per cycle, Laplace:",
        _rate_table(figures),
        _AZ1_TEXT,
        _az1_table(figures),
        _COST_TEXT,
        _cost_table(figures),
        "## What was run, and what is assumed",
        _METHOD,
        hashes,
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _flow(text: str) -> str:
    return " ".join(text.split())


# ---------------------------------------------------------------------------------- values


def _codecs(figures: _Figures) -> list[str]:
    """Every codec of the figures, azsim's own, sorted."""
    start = f"{next(iter(REFERENCE))}."
    found = {
        key.removeprefix(start).removesuffix(".bits_per_weight")
        for key in figures
        if key.startswith(start) and key.endswith(".bits_per_weight")
    }
    return sorted(found - {_ARM})


def _has_arm(figures: _Figures) -> bool:
    return f"{next(iter(REFERENCE))}.{_ARM}.bits_per_weight" in figures


def _bits(figures: _Figures, name: str, codec: str) -> float | None:
    found = figures.get(f"{name}.{codec}.bits_per_weight")
    return None if found is None else found.value


def _entropy(figures: _Figures, name: str) -> float:
    return figures[f"{name}.entropy"].value


def _cell(value: float | None, digits: int = 3) -> str:
    return _NONE if value is None else f"{value:.{digits}f}"


def _sets(figures: _Figures) -> list[str]:
    return [key.removesuffix(".entropy") for key in figures if key.endswith(".entropy")]


def _tensors(figures: _Figures) -> list[str]:
    """Names of the trained tensors, each once."""
    names = [key for key in _sets(figures) if key.startswith("silero.") and key not in REFERENCE]
    return list(dict.fromkeys(key.removeprefix("silero.").rsplit(".", 2)[0] for key in names))


def _trained(figures: _Figures) -> list[str]:
    return [
        f"silero.{tensor}.{scheme}.s{round(100 * share)}"
        for tensor in _tensors(figures)
        for scheme in SCHEMES
        for share in SHARES
    ]


def _gains(figures: _Figures, names: Iterable[str], codec: str, other: str) -> list[float]:
    """How much smaller a codec is than another one, in percent, where both are known."""
    pairs = [(_bits(figures, name, codec), _bits(figures, name, other)) for name in names]
    return [100 * (1 - a / b) for a, b in pairs if a is not None and b]


# ---------------------------------------------------------------------------------- answer


def _answer(figures: _Figures) -> str:
    items = [_smallest_text(figures), _patents_text(figures)]
    if _has_arm(figures):
        items.append(_arm_text(figures))
    items += [_prototype_text(figures), _rate_text(figures)]
    return "\n".join(f"{number}. {_flow(item)}" for number, item in enumerate(items, 1))


def _smallest_text(figures: _Figures) -> str:
    names, codecs = _sets(figures), _codecs(figures)
    winners: dict[str, list[str]] = {}
    for name in names:
        sizes = {c: bits for c in codecs if (bits := _bits(figures, name, c)) is not None}
        winners.setdefault(min(sizes, key=lambda codec: sizes[codec]), []).append(name)
    won = winners.pop(_BEST, [])
    others = "; ".join(
        f"`{codec}` in {len(sets)} ({', '.join(f'`{name}`' for name in sets[:6])}"
        f"{', ...' if len(sets) > 6 else ''})"
        for codec, sets in winners.items()
    )
    below = sum(
        1
        for name in names
        if (bits := _bits(figures, name, _BEST)) is not None and bits < _entropy(figures, name)
    )
    return f"""
        `{_BEST}` is the smallest of azsim's codecs in {len(won)} of {len(names)} sets of codes
        {f"(otherwise: {others})" if others else ""}, and below the order-0 entropy of the codes
        in {below}, headers and tables counted.
    """


def _patents_text(figures: _Figures) -> str:
    trained = _trained(figures)
    per_share = []
    for share in SHARES:
        names = [name for name in trained if name.endswith(f".s{round(100 * share)}")]
        gains = _gains(figures, names, _BEST, _PATENTS)
        per_share.append(f"{sum(gains) / len(gains):.0f} % at {100 * share:.0f} % pruned")
    return f"""
        Against the pair of the patents (`{_PATENTS}`) it saves on trained tensors, on average,
        {", ".join(per_share)}.
    """


def _arm_text(figures: _Figures) -> str:
    gains = _gains(figures, _trained(figures), _BEST, _ARM)
    rows = _gains(figures, REFERENCE, _BEST, _ARM)
    return f"""
        Against Ethos-U's own codec (`mlw_codec` of ethos-u-vela) it is smaller on
        {sum(1 for gain in gains if gain > 0)} of {len(gains)} trained sets, by {min(gains):.1f} to
        {max(gains):.1f} %, and on {sum(1 for gain in rows if gain > 0)} of {len(rows)} reference
        matrices, by {min(rows):.1f} to {max(rows):.1f} %.
    """


def _prototype_text(figures: _Figures) -> str:
    good = [
        name
        for name, row in REFERENCE.items()
        if (bits := _bits(figures, name, _BEST)) is not None
        and round(bits, 3) <= row.prototype_bits
    ]
    return f"""
        It is at or below the figure of its prototype on {len(good)} of {len(REFERENCE)} reference
        matrices.
    """


def _rate_text(figures: _Figures) -> str:
    def rate(codec: str, structure: str) -> str:
        found = figures.get(f"laplace.b8.{structure}.{codec}.weights_per_cycle")
        return _NONE if found is None else f"{found.value:.1f}"

    def on_az1(codec: str) -> str:
        return f"{figures[f'{_ROW}.{codec}.az1_weights_per_cycle'].value:.1f}"

    kilobits = figures[f"decoder.{_BEST}.table_bits"].value / 1000
    return f"""
        It pays with tables: {kilobits:,.0f} kbit of them in 16 lanes, where `bitmap` needs none.
        With 16 lanes on a bus of 128 bits, 8-bit Laplace weights are decoded at
        {rate(_BEST, "s0")} weights per cycle dense, {rate(_BEST, "s75")} at 75 % zeros and
        {rate(_BEST, "s90")} at 90 %; `bitmap` at {rate("bitmap", "s0")},
        {rate("bitmap", "s75")} and {rate("bitmap", "s90")}. Where DRAM is slower the order turns:
        on `az1`, `{_ROW}` comes at {on_az1(_BEST)} weights per cycle with `{_BEST}` and at
        {on_az1("bitmap")} with `bitmap`.
    """


# ---------------------------------------------------------------------------------- tables

_REFERENCE_TEXT = _flow("""
    The matrices of published figures, made anew by their recipe; each is checked by the sha256 of
    its codes. Bits per weight with headers and tables; *H0* is the order-0 entropy of the codes,
    *mlw* the stream of Arm's encoder without a header around it, *prototype* the published figure
    of the prototype of lane_tans (a number from elsewhere, not run here).
""")
_NO_ARM_TEXT = "Arm's encoder (ethos-u-vela) was not installed: its column is left out."


def _size_rows(
    figures: _Figures, labelled: Iterable[tuple[tuple[str, ...], str]]
) -> list[list[str]]:
    """Labels, entropy and the size with each codec; the smallest of azsim's own is bold."""
    codecs = _codecs(figures)
    rows = []
    for labels, name in labelled:
        sizes = [_bits(figures, name, codec) for codec in codecs]
        least = min(size for size in sizes if size is not None)
        cells = [f"**{_cell(size)}**" if size == least else _cell(size) for size in sizes]
        row = [*labels, _cell(_entropy(figures, name)), *cells]
        if _has_arm(figures):
            row.append(_cell(_bits(figures, name, _ARM)))
        rows.append(row)
    return rows


def _heads(figures: _Figures, *first: str) -> list[str]:
    return [*first, "H0", *_codecs(figures), *([_ARM] if _has_arm(figures) else [])]


def _reference_table(figures: _Figures) -> str:
    rows = _size_rows(figures, [((f"`{name}`",), name) for name in REFERENCE])
    for row, published in zip(rows, REFERENCE.values(), strict=True):
        row.append(f"{published.prototype_bits:.3f}")
    return table([*_heads(figures, "codes"), "prototype"], rows)


_SILERO_TEXT = _flow(f"""
    Every weight matrix of Silero VAD 6.2.3 with at least {LEAST_WEIGHTS} weights, one by one.
    *8 bit* and *4 bit*: scale from the largest magnitude of each row; *clipped*: with the clip of
    least squared error. Bits per weight.
""")


def _silero_table(figures: _Figures) -> str:
    heads = ["tensor", "weights", "pruned", "H0", _BEST]
    if _has_arm(figures):
        heads += [_ARM, f"{_BEST} is smaller by"]
    rows = []
    for tensor in _tensors(figures):
        for scheme, (text, _) in SCHEMES.items():
            for share in SHARES:
                name = f"silero.{tensor}.{scheme}.s{round(100 * share)}"
                own, arm = _bits(figures, name, _BEST), _bits(figures, name, _ARM)
                row = [f"`{tensor}`", text, f"{100 * share:.0f} %"]
                row += [_cell(_entropy(figures, name)), _cell(own)]
                if _has_arm(figures):
                    gain = _NONE if own is None or not arm else f"{100 * (1 - own / arm):.1f} %"
                    row += [_cell(arm), gain]
                rows.append(row)
    return table(heads, rows)


def _silero_codecs_table(figures: _Figures) -> str:
    codecs = [*_codecs(figures), *([_ARM] if _has_arm(figures) else [])]
    sizes = {t: figures[f"silero.{t}.b8.s0.weights"].value for t in _tensors(figures)}
    count = sum(sizes.values())
    rows = []
    for scheme, (text, _) in SCHEMES.items():
        for share in SHARES:
            end = f"{scheme}.s{round(100 * share)}"
            row = [text, f"{100 * share:.0f} %"]
            for codec in codecs:
                bits = {t: _bits(figures, f"silero.{t}.{end}", codec) for t in sizes}
                known = [value * sizes[t] for t, value in bits.items() if value is not None]
                row.append(_cell(sum(known) / count) if len(known) == len(sizes) else _NONE)
            rows.append(row)
    return table(["weights", "pruned", *codecs], rows)


_SYNTHETIC_TEXT = _flow("""
    512 x 512 seeded weights; 8 bits with the scale from the largest magnitude of each row, fewer
    bits with the clip of least squared error, so that there may be more zeros than were pruned.
    *2:4*: the two largest of four neighbours stay; *1x16*: blocks of 16 neighbours go. Bits per
    weight; the smallest of azsim's codecs is bold.
""")


def _synthetic_table(distribution: str, figures: _Figures) -> str:
    labelled = [
        ((f"{bits} bit", text), f"{distribution}.b{bits}.{structure}")
        for bits in BITS
        for structure, (text, _) in STRUCTURES.items()
    ]
    return table(_heads(figures, "weights", "pruned"), _size_rows(figures, labelled))


_DECODER_TEXT = _flow("""
    Weights per cycle are weights over the cycles from the first word on the bus to the last code in
    weight SRAM, all of the block in the FIFO: 16 lanes whose steps are those of the very stream, a
    bus of 16 bytes per cycle that brings them header, tables and steps in the order of their
    demand, and a write port of 64 bytes per cycle. `azsim run` adds DRAM and its latency.
""")


def _rate_table(figures: _Figures) -> str:
    codecs = _codecs(figures)
    rows = []
    for bits in BITS:
        for structure, (text, _) in STRUCTURES.items():
            start = f"laplace.b{bits}.{structure}"
            found = [figures.get(f"{start}.{codec}.weights_per_cycle") for codec in codecs]
            cells = [_cell(None if figure is None else figure.value, 1) for figure in found]
            rows.append([f"{bits} bit", text, *cells])
    return table(["weights", "pruned", *codecs], rows)


_AZ1_TEXT = _flow("""
    The same on `az1`, whose DRAM brings 6.4 bytes per cycle (an assumption of the preset): there
    fewer bits are more weights per cycle.
""")


def _az1_table(figures: _Figures) -> str:
    codecs = _codecs(figures)
    rows = []
    for name in REFERENCE:
        found = [figures.get(f"{name}.{codec}.az1_weights_per_cycle") for codec in codecs]
        rows.append([f"`{name}`", *(_cell(None if f is None else f.value, 1) for f in found)])
    return table(["codes", *codecs], rows)


_COST_TEXT = _flow("""
    Size of a decoder in the rough, 16 lanes together, for the stream of `silero.lstm.b8.s75`:
    bits of tables and registers, 2:1 multiplexers of one bit, adders and comparators of up to 16
    bits. These are estimates from the structure of the decoders, not synthesis results.
""")


def _cost_table(figures: _Figures) -> str:
    rows = [
        [codec, *(f"{figures[f'decoder.{codec}.{key}'].value:,}" for key in _SIZES)]
        for codec in _codecs(figures)
        if f"decoder.{codec}.{_SIZES[0]}" in figures
    ]
    return table(["codec", *(key.replace("_", " ") for key in _SIZES)], rows)


_METHOD = "\n".join(
    f"- {_flow(item)}"
    for item in (
        """
        Every tensor is one block; all of it is counted: header, checksum, tables, padding. Every
        block was decoded and compared with its codes. Scales are not counted: they are the same
        with every codec.
        """,
        """
        Codecs run with their defaults; `bitmap+palette` is the pair of the patents.
        """,
        """
        Arm's codec is `mlw_codec` of ethos-u-vela 5.2.0, given the codes row after row as one
        stream; its bytes are counted as they come, without a header of ours.
        """,
        """
        No tensor was used for more than a measurement here, but the reference matrices and Silero
        VAD were looked at while the codecs were written.
        """,
        """
        Exact: sizes, entropies, round trips. Modelled: cycles. Assumption: 16 lanes, the bus of
        128 bits and the write port, and every size of a decoder.
        """,
        """
        Speeds of azsim's own encoders and decoders depend on the machine and are not here;
        `azsim codecs` and `tests/bench/bench_codecs.py` print them. Files that were read:
        """,
    )
)
