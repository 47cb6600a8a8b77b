"""The answer of the study accuracy_vs_cost in words and tables, all from its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from azsim.studies._accuracy_vs_cost.jobs import TIMED
from azsim.studies._accuracy_vs_cost.plots import NAMES, rows_in
from azsim.studies._accuracy_vs_cost.rows import TESTS, UNITS, WHOLE, Row
from azsim.studies._accuracy_vs_cost.tables import (
    examples_table,
    front_table,
    rate_text,
    row_name,
    rows_table,
    seed_table,
    unsaid_table,
)
from azsim.studies._accuracy_vs_cost.targets import targets
from azsim.studies._write import Figure, table

__all__ = ["readme"]

_Figures = Mapping[str, Figure]
_QUESTION = "What do fewer bits and more zeros cost in wrong words, and what do they save?"
_CLOSE_DB = 1.0
_SETS = {"unseen_voices": "unseen voices", "unseen_engines": "unseen engines"}


def _flow(text: str) -> str:
    return " ".join(text.split())


def readme(figures: _Figures, examples: str) -> str:
    """Return the study's ``README.md``.

    Parameters
    ----------
    figures : mapping of str to Figure
    examples : str
        ``unknown_words.csv``.
    """
    parts = [
        f"# {_QUESTION}",
        _flow("""
            Made by `azsim study accuracy_vs_cost -o reports/accuracy_vs_cost`, and not edited by
            hand. Every number below, and those of all runs, are in [data.json](data.json).
        """),
        *_warning(figures),
        "## Answer",
        _answer(figures),
        "## What was asked for",
        table(("", "wanted", "found", ""), targets(figures), texts=4),
        "## Every scheme",
        _COLUMNS,
    ]
    for unit, name in UNITS.items():
        parts += [f"### {name.capitalize()}", rows_table(figures, unit)]
    parts += [
        "![Wrong words against stored bits](bits.svg)",
        "![Wrong words against latency](latency.svg)",
        "![Wrong words against DRAM traffic](dram.svg)",
        _PLOTS,
        "## Fronts",
        _flow("""
            Schemes that no other one beats in both, wrong words of unseen voices and the cost,
            cheapest first. Differences below a standard error decide here too.
        """),
        front_table(figures),
        "## Where the noise of the weights misleads",
        _sqnr_text(figures),
        "![Wrong words against weight noise](sqnr.svg)",
        "## Trainings",
        _seed_text(figures),
        seed_table(figures),
        "## What nobody said, and what nobody taught",
        _unsaid_text(figures),
        unsaid_table(figures),
        _flow("""
            The first sentences with a word that the grammar lacks, as the float weights hear them
            at 8 bits ([unknown_words.csv](unknown_words.csv)):
        """),
        examples_table(examples),
        "## What was run, and what is assumed",
        _method(figures),
    ]
    return "\n\n".join(parts) + "\n"


def _warning(figures: _Figures) -> Iterator[str]:
    if not figures["audio.as_committed"].value:
        yield _flow("""
            **The test audio is not that of the committed figures**: other versions of the
            synthesizers speak in another way. Compare within this page only.
        """)


# ----------------------------------------------------------------------------------- answer


def _answer(figures: _Figures) -> str:
    lines = [_flow(line) for line in _sentences(figures)]
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))


def _both(figures: _Figures, unit: str, scheme: str) -> str:
    """What a scheme gives as it is and after training, as far as both are there."""
    ways = {"post": "as they are", "trained": "trained for it"}
    found = [
        f"{rate_text(figures, row.key)} {ways[row.way]}"
        for row in rows_in(figures, unit)
        if row.scheme == scheme
    ]
    return f"{NAMES[scheme]}: {', '.join(found)}"


def _sentences(figures: _Figures) -> Iterator[str]:
    for unit, name in UNITS.items():
        there = {row.scheme for row in rows_in(figures, unit)}
        told = [s for s in ("w4", "w3", "w2", "s75", "s90", "w4_s75") if s in there]
        schemes = "; ".join(_both(figures, unit, scheme) for scheme in told)
        whole = rate_text(figures, Row(unit, "post", WHOLE).key)
        near = figures[f"{unit}.float.seed0.{TESTS[0]}.se"].value
        voices, engines = (rate_text(figures, f"{unit}.float.seed0", test) for test in TESTS)
        yield f"""
            **{name.capitalize()}**: the float model gets {voices} of the words of unseen voices
            wrong (± {near:.1f} points over utterances) and {engines} of those of unseen engines; at
            8 bits on the chip {whole} of unseen voices. {schemes}.
        """
    for unit, name in UNITS.items():
        yield _saving(figures, unit, name)
    yield """
        az1's weight SRAM holds codes decoded, zeros included. At 4 bits and below all half a
        million fit, and DRAM carries only features and symbols; at 8 bits some are brought again in
        every frame, and zeros make those shorter, not fewer; values of a palette have 8 bits.
        Energy is not modelled yet: what fewer bits and zeros save of it is not here.
    """
    for unit, name in UNITS.items():
        if pair := _misleading(figures, unit, "post"):
            yield f"""
                **The noise of the weights misleads**, {name}: {_beside(figures, *pair)}.
                {_trained_noise(figures, unit)}
            """
    counts = [
        [figures[f"{unit}.uncompressed.{key}"].value for unit in UNITS]
        for key in ("different", "utterances")
    ]
    exact = [
        figures[f"{row.key}.bit_exact"].value for unit in UNITS for row in rows_in(figures, unit)
    ]
    yield f"""
        Uncompressed (8-bit codes, activations of 16 bits), chip and host hear other symbols in
        {counts[0][0]} of {counts[1][0]:,} utterances in words and {counts[0][1]} of
        {counts[1][1]:,} in characters. Compressed, {sum(exact)} of {len(exact)} models are equal to
        the reference evaluator bit for bit, in every tensor.
    """


def _saving(figures: _Figures, unit: str, name: str) -> str:
    """The cheapest scheme that is not worse than the float model by more than a standard error."""
    near = figures[f"{unit}.float.seed0.{TESTS[0]}.se"].value
    some = rows_in(figures, unit)
    good = [row for row in some if figures[f"{row.key}.{TESTS[0]}.more"].value <= near]
    whole = Row(unit, "post", WHOLE)
    if not good:
        return f"In {name} no scheme is within a standard error of the float model."
    if whole in good and len(good) == 1:
        return f"In {name} only 8 bits are within a standard error of the float model."
    best = min(good, key=lambda row: figures[f"{row.key}.bits_per_weight"].value)

    def of(row: Row, key: str) -> float:
        return figures[f"{row.key}.{key}"].value

    return f"""
        In {name}, the smallest model within a standard error ({near:.1f} points) of the float one
        is {row_name(best)}: {of(best, "bits_per_weight"):.2f} stored bits a weight, a frame in
        {of(best, "latency_us_p50"):.1f} µs and {of(best, "dram_bytes_per_s") / 1e3:.0f} kB of DRAM
        traffic a second, against {of(whole, "bits_per_weight"):.2f} bits,
        {of(whole, "latency_us_p50"):.1f} µs and {of(whole, "dram_bytes_per_s") / 1e3:.0f} kB at 8
        bits.
    """


def _sqnr(figures: _Figures, row: Row) -> str:
    return f"{figures[f'{row.key}.weight_sqnr'].value:.1f} dB"


def _misleading(figures: _Figures, unit: str, way: str = "") -> tuple[Row, Row] | None:
    """Of two schemes with about the same weight noise those whose errors differ by most times."""
    some = [row for row in rows_in(figures, unit) if not way or row.way == way]

    def of(row: Row, key: str) -> float:
        return figures[f"{row.key}.{key}"].value

    def times(pair: tuple[Row, Row]) -> float:
        best, worst = (max(of(row, f"{TESTS[0]}.wer"), 0.1) for row in pair)
        return worst / best

    pairs = [
        (a, b)
        for a in some
        for b in some
        if abs(of(a, "weight_sqnr") - of(b, "weight_sqnr")) <= _CLOSE_DB
        and of(a, f"{TESTS[0]}.wer") < of(b, f"{TESTS[0]}.wer")
    ]
    return max(pairs, key=times, default=None)


def _beside(figures: _Figures, *some: Row) -> str:
    return ", ".join(
        f"{row_name(row)}, {_sqnr(figures, row)} from the float weights, gets "
        f"{rate_text(figures, row.key)} wrong"
        for row in some
    )


def _trained_noise(figures: _Figures, unit: str) -> str:
    """What training for 3 bits does to the noise and to the errors."""
    some = [Row(unit, way, "w3") for way in ("trained", "post")]
    if any(row not in rows_in(figures, unit) for row in some):
        return ""
    return f"Training moves weights: {_beside(figures, *some)}."


def _sqnr_text(figures: _Figures) -> str:
    lines = [
        """
        Across: energy of the float weights over that of the difference to what the chip stores.
        Training for a scheme moves weights away from where they were, so a trained model may be far
        from the float one and hear as well.
        """
    ]
    for unit, name in UNITS.items():
        if pair := _misleading(figures, unit):
            lines.append(f"""
                The widest gap within {_CLOSE_DB:g} dB, {name}: {_beside(figures, *pair)}.
            """)
    return " ".join(map(_flow, lines))


# ----------------------------------------------------------------------------------- tables

_COLUMNS = _flow("""
    Weights of seed 0; *as they are*: the float weights, compressed; *trained*: begun with the float
    weights and trained for the scheme; *control*: trained for none, for 2,000 steps as most others,
    for 2,400 as those with 75 % zeros, for 4,000 as 90 %, or *slowly* as 4 bits and palettes of 16.
    *±*: standard error over the 1,000 utterances of a set. *more*: points more than the float model
    on the same utterances, and the standard error of that difference, which is smaller, as both
    hear the same. *bits*: stored per weight, with scales, tables and headers. *weights dB*: signal
    to noise of the stored weights against the float ones. *kB/s*: DRAM, read and written, per
    second of audio, the filling of the SRAM left out. *µs*: from a frame's arrival to its symbols,
    on az1.
""")
_PLOTS = _flow("""
    Schemes by the names of their recipes (`azsim list recipes`): w is bits, s zeros in percent, p a
    palette, n1m4 one of four kept, b75 as many zeros in each lane, w3r pulled to 3 bits. Bars are
    one standard error over utterances.
""")


def _seed_text(figures: _Figures) -> str:
    counts = sorted(
        {int(f.value) for key, f in figures.items() if key.endswith(f".{TESTS[0]}.wer_seeds")}
    )
    most = counts[-1]
    several = f"from {counts[0]} to {most}" if len(counts) > 1 else str(most)
    return _flow(f"""
        Seeds give other first weights, another order and other noise. Rows have {several} trainings
        each; *±* is the standard error of the mean over trainings, and is missing where there is
        one training: it says how another training would differ, which an error over utterances
        does not.
    """)


def _unsaid_text(figures: _Figures) -> str:
    shuffled = ", ".join(
        f"{rate_text(figures, f'{unit}.shuffled', test)} ({name}, {_SETS[test]})"
        for unit, name in UNITS.items()
        for test in TESTS
    )
    return _flow(f"""
        Noise without speech ought to give nothing. A sentence with a word that the grammar lacks
        cannot be heard right by a recogniser of words, and one of characters can only spell it; the
        table says how many of the words that the grammar has are still heard, in order. With the
        sound of another sentence the words wrong are {shuffled}; a
        recogniser that guesses what is said often would have fewer.
    """)


def _method(figures: _Figures) -> str:
    sets = ", ".join(
        f"{figures[f'audio.{name}.utterances'].value:,} ({figures[f'audio.{name}.hours'].value} h)"
        for name in TESTS
    )
    lines = (
        f"""
        Test sets: {", ".join(_SETS.values())}, {sets}, at 15 dB, made by the synthesizers that
        docs/speech.md names; kept in the user's cache. No sentence and no voice of them was in the
        training.
        """,
        """
        Everything anew, corpus and trainings: `azsim study accuracy_vs_cost --anew work`. Without
        that, the study takes the weights that are in the tree.
        """,
        """
        Every transcript is the chip's, by executing its program on az1 bit for bit; activations of
        8 bits with a scale for each frame. The float model is decoded by plain numpy in float64.
        """,
        f"""
        Times and traffic: {TIMED} of the tree's utterances as they arrive, by the fast timing model
        (see the study timing_agreement), each model with its recipe's own codec; other codecs store
        more or fewer bits.
        """,
        """
        Assumption: every figure of az1, as its preset says. Voices are synthetic: people differ
        more, and error rates with people will be higher.
        """,
    )
    return "\n".join(f"- {_flow(line)}" for line in lines)
