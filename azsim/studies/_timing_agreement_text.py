"""The answer of the study timing_agreement in words and tables, all from its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from azsim.studies._timing_agreement_rows import (
    ENGINES,
    LONG_CYCLES,
    PROMISES,
    Case,
    broken,
)
from azsim.studies._timing_agreement_workloads import (
    HELD_PERCENT,
    PROMISED_PERCENT,
    WORKLOAD,
    Layer,
    broken_runs,
    run_key,
    worst_layer,
)
from azsim.studies._write import Figure, table

__all__ = ["readme"]

_Figures = Mapping[str, Figure]

_SWEEPS = {
    "zeros": "zero weights (%)",
    "activation_zeros": "zero activations (%)",
    "bits": "weight bits",
    "queue_depth": "queue depth (windows)",
    "window": "window (weights)",
    "zero_skip": "zeros that are skipped",
    "shape": "outputs x inner x rows",
    "lanes": "decoder lanes",
    "port": "write port (codes a cycle)",
    "size": "codes in the block",
    "working_lanes": "lanes that have any work",
    "latency": "DRAM latency (cycles)",
    "burst_time": "cycles that a burst takes",
    "refresh_interval": "cycles between refreshes",
    "row_bursts": "bursts in a row",
    "banks": "banks",
    "channels": "channels in use",
    "fifo_bursts": "bursts in the FIFO",
    "outstanding": "requests under way",
    "rows": "rows of activations",
    "tiles": "tiles",
    "random": "everything, at random",
    "stalls": "cycles stalled from outside (%)",
}


def readme(
    figures: _Figures, cases: Sequence[Case], layers: Sequence[Layer], files: Mapping[str, str]
) -> str:
    """Return the study's ``README.md``."""
    parts = [
        "# How far are azsim's cycles from those of Verilog and of models stepped cycle by cycle?",
        _flow("""
            Made by `azsim study timing_agreement -o reports/timing_agreement` in a checkout with
            verilator, and not edited by hand. Every case is in [cases.csv](cases.csv), every number
            below in [data.json](data.json).
        """),
        "## Answer",
        _answer(figures),
        "## Agreement by engine",
        _COMPARED_TEXT,
        _engine_table(figures),
        _flow(f"""
            Errors are those of the fast model against Verilog, in percent of the Verilog's cycles,
            over cases of {LONG_CYCLES:,} cycles or more; *bias* keeps the sign. On shorter cases
            the error is counted in cycles. *Promised* is what azsim's tests hold the fast model to;
            the joined pipeline they hold to a mean of 1 %.
        """),
        "![Error of the fast model, case by case](error.svg)",
        "![Error over zeros](zeros.svg)",
        "## MAC array",
        _MAC_TEXT,
        "![Cycles over queue depth](queue.svg)",
        "![Cycles over window](window.svg)",
        _sweep_table(figures, cases, ("mac_inner", "mac_outer")),
        "## Decoder",
        _DECODER_TEXT,
        _sweep_table(figures, cases, ("bitmap", "zero_run", "lane_tans")),
        "## DRAM and DMA",
        _DRAM_TEXT,
        "![Cycles over latency, error over refresh](dram.svg)",
        _sweep_table(figures, cases, ("dram",)),
        "## Joined pipeline",
        _JOINED_TEXT,
        "![Loads that the FIFO limits](fifo.svg)",
        "![Joined pipeline](joined.svg)",
        _sweep_table(figures, cases, ("joined",)),
        "## Whole workloads",
        _WORKLOADS_TEXT,
        "![Difference of each run](workloads.svg)",
        _workload_table(figures, layers),
        "## What is exact, and what is modelled",
        _items(_STANDING),
        "## What was run, and what is assumed",
        _items(_METHOD),
        "Inputs:",
        "\n".join(f"- `{name}`: sha256 `{files[name]}`" for name in sorted(files)),
    ]
    return "\n\n".join(parts) + "\n"


def _flow(text: str) -> str:
    """Return a paragraph as one line."""
    return " ".join(text.split())


def _items(texts: Sequence[str]) -> str:
    return "\n".join(f"- {_flow(text)}" for text in texts)


def _present(figures: _Figures) -> list[str]:
    return [engine for engine in ENGINES if f"{engine}.cases" in figures]


# -------------------------------------------------------------------------------------- answer


def _answer(figures: _Figures) -> str:
    engines = _present(figures)
    cases = sum(int(figures[f"{engine}.cases"].value) for engine in engines)
    equal = sum(int(figures[f"{engine}.equal"].value) for engine in engines)
    same = f"all {cases:,}" if equal == cases else f"**only {equal:,} of {cases:,}**"
    alone = [engine for engine in engines if engine != "joined"]
    exact = ", ".join(ENGINES[e] for e in alone if figures[f"{e}.worst_error"].value == 0)
    mean = max(figures[f"{engine}.mean_error"].value for engine in alone)
    worst = max(alone, key=lambda engine: figures[f"{engine}.worst_error"].value)
    problems = [*broken(figures), *broken_runs(figures)]
    lines = (
        f"""
        The cycle-stepped models take exactly as many cycles as the Verilog in {same} cases, and the
        Verilog's results are right bit for bit.
        """,
        f"""
        The fast model, which every run uses, is off by at most {mean:.2f} % on average on an engine
        alone, and by {figures[f"{worst}.worst_error"].value:.2f} % in the worst case
        ({ENGINES[worst]}).{f" It is exact on {exact}." if exact else ""}
        """,
        f"""
        With memory, decoder, weight SRAM and MAC array joined it is off by
        {figures["joined.mean_error"].value:.2f} % on average and by
        {figures["joined.worst_error"].value:.2f} % at worst.
        """,
        _workloads_answer(figures),
        "Everything that is promised of it holds: see the tables below."
        if not problems
        else f"**Not everything that is promised of it holds**: {'; '.join(problems)}.",
        """
        The vector engine and the sequencer have no Verilog; for them the cycle-stepped model is all
        there is to compare with.
        """,
    )
    return "\n".join(f"{number}. {_flow(line)}" for number, line in enumerate(lines, 1))


def _workloads_answer(figures: _Figures) -> str:
    """Say how far whole runs are apart."""
    found = [
        abs(figure.value)
        for name, figure in figures.items()
        if name.startswith("workload.") and name.endswith(".difference")
    ]
    return f"""
        Whole runs of `vad_silero` on four chips, {len(found)} of them, are {max(found):.2f} % apart
        at most between the fast model and the whole machine stepped cycle by cycle, and
        {sum(found) / len(found):.2f} % on average.
    """


# -------------------------------------------------------------------------------------- tables


def _errors(figures: _Figures, start: str) -> tuple[str, str]:
    """Mean and worst error, for a table."""
    if f"{start}.mean_error" not in figures:
        return "", ""
    mean, worst = (figures[f"{start}.{name}_error"].value for name in ("mean", "worst"))
    return f"{mean:.3f} %", f"{worst:.3f} %"


def _short(figures: _Figures, start: str) -> str:
    """How far short cases are off, in cycles."""
    if f"{start}.short_low" not in figures:
        return ""
    low, high = (int(figures[f"{start}.short_{name}"].value) for name in ("low", "high"))
    if low == high:
        return f"{low:+d}" if low else "0"
    return f"{low:+d} to {high:+d}"


def _engine_table(figures: _Figures) -> str:
    rows = []
    for engine in _present(figures):

        def text(name: str, engine: str = engine) -> str:
            return f"{figures[f'{engine}.{name}'].value:.3f} %"

        def count(name: str, engine: str = engine) -> str:
            return f"{int(figures[f'{engine}.{name}'].value):,}"

        promise = PROMISES[engine]
        promised = f"mean {promise.mean:g} %, worst {promise.worst:g} %"
        if promise.cycles is not None:
            promised += f", {promise.cycles} cycles"
        rows.append(
            [
                ENGINES[engine],
                count("cases"),
                count("equal"),
                count("long"),
                *(text(name) for name in ("mean_error", "median_error", "p90_error")),
                text("worst_error"),
                f"{figures[f'{engine}.bias'].value:+.3f} %",
                count("short"),
                _short(figures, engine),
                promised,
            ]
        )
    heads = (
        "engine", "cases", "Verilog = stepped", f"{LONG_CYCLES:,} cycles or more", "mean", "median",
        "90th percentile", "worst", "bias", "shorter", "off by (cycles)", "promised",
    )  # fmt: skip
    return table(heads, rows)


def _sweep_table(figures: _Figures, cases: Sequence[Case], engines: Sequence[str]) -> str:
    rows = []
    for engine in engines:
        own = [case for case in cases if case.engine == engine]
        for sweep in _SWEEPS:
            start = f"{engine}.{sweep}"
            if f"{start}.cases" not in figures:
                continue
            values = list(dict.fromkeys(case.x for case in own if case.sweep == sweep))
            series = dict.fromkeys(case.series for case in own if case.sweep == sweep)
            named = [name for name in series if name]
            rows.append(
                [
                    ENGINES[engine] if len(engines) > 1 else "",
                    _SWEEPS[sweep],
                    "" if sweep == "random" else ", ".join(values),
                    "; ".join(named),
                    f"{int(figures[f'{start}.cases'].value)}",
                    *_errors(figures, start),
                    _short(figures, start),
                ]
            )
    heads = ["engine", "varied", "values", "each with", "cases", "mean", "worst", "short, cycles"]
    if len(engines) == 1:
        heads, rows = heads[1:], [row[1:] for row in rows]
    return table(heads, rows, texts=len(heads) - 4)


def _workload_table(figures: _Figures, layers: Sequence[Layer]) -> str:
    rows = []
    for run in dict.fromkeys(layer.run for layer in layers):
        start, worst = run_key(*run), worst_layer(layers, run)
        share = worst.difference_cycles / worst.stepped_cycles if worst.stepped_cycles else 0.0
        rows.append(
            [
                f"`{run[0]}`, `{run[1]}`",
                f"`{run[2]}`",
                f"`{worst.layer}`",
                f"{figures[f'{start}.fast_cycles'].value:,}",
                f"{figures[f'{start}.stepped_cycles'].value:,}",
                f"{figures[f'{start}.difference'].value:+.3f} %",
                f"{worst.difference_cycles:+,} of {worst.stepped_cycles:,} ({share:+.1%})".replace(
                    "%", " %"
                ),
            ]
        )
    heads = (
        "chip, dataflow", "codec", "layer that is furthest off", "fast", "stepped", "difference",
        "that layer's",
    )  # fmt: skip
    return table(heads, rows, texts=3)


# --------------------------------------------------------------------------------------- words

_COMPARED_TEXT = _flow("""
    Three models of each engine take the same jobs. The *Verilog* (`tests/rtl`, simulated by
    verilator) gets streams and back-pressure, never a schedule, and computes results that are
    compared with numpy's. The *cycle-stepped* model keeps the same rules one clock cycle at a time.
    The *fast* model is what every run uses: closed forms and recurrences over counts, without
    stepping. A count runs from the first request to the last write.
""")

_MAC_TEXT = _flow("""
    A product of a weight tile with rows of activations. As long as activations arrive without
    stalls, the recurrence of the fast model is that of the hardware, and there is no error: queue
    depth, window, composed precision and skipping all show in it. Cases with stalls of activation
    SRAM are compared between Verilog and cycle-stepped model only; in the machine a product starts
    when its operands are there.
""")

_DECODER_TEXT = _flow("""
    A whole block through the lanes into weight SRAM, words always at hand. The fast model works
    through the block's own steps in the order in which the lanes want their bits: a step is taken
    when the bus has brought its bits, its lane is free and its queue has room, and the block ends
    with its last write; plus a constant for the pipeline. It lets the write port keep that order,
    where the Verilog's takes groups of 16 codes round-robin, and gives the lanes of `bitmap` and
    `zero_run` one stream where those of the Verilog have one each: mostly a cycle or two of a
    block, and more where lanes and bus of a `lane_tans` block are about as busy.
""")

_DRAM_TEXT = _flow("""
    Six transfers of 5 to 60 bursts on az1's memory (burst of 10 cycles, latency 40, 8 banks, row of
    32 bursts, row miss 15, refresh of 90 each 1,950 cycles) where nothing else is said. The error
    is that of the last transfer's end; Verilog and cycle-stepped model are compared on every
    transfer's. The fast model serves burst by burst what the channels ask for, with the same rules
    for rows, turns and refreshes: a refresh that is due takes the bus, for its whole time, when the
    burst under way has ended. Cases in which the memory refuses requests at random are compared
    between Verilog and cycle-stepped model only.
""")

_JOINED_TEXT = _flow("""
    Tiles stream from memory through burst FIFO and decoder lanes into two slots of weight SRAM, and
    the MAC array multiplies one while the other fills. The fast model sums up a block's decoding in
    four numbers for each burst: when it leaves the FIFO, and what its being late does to the rest.
    That is exact for a burst that comes in time and near to it for one that does not, also where a
    short FIFO is what limits the load. A tile's way through the pipeline is a constant, which is a
    cycle too many for some; with tiles of a few dozen cycles (8 x 16 weights) that is a percent.
""")

_WORKLOADS_TEXT = _flow(f"""
    Workload `{WORKLOAD}`, one second of speech, executed once for each chip and codec; its trace is
    timed by the fast model (`azsim run`) and by the whole machine stepped cycle by cycle (`azsim
    run --exact-timing`), with the other dataflow too for one codec, as a dataflow is no part of the
    program. Cycles are
    those of the whole run without waiting for input. A layer's cycles run from the retirement of
    the layer before to its own; those of all layers of all runs are in [layers.csv](layers.csv).
    Promised are {PROMISED_PERCENT:g} %, and azsim's tests hold whole runs to {HELD_PERCENT:g} %.
""")

_STANDING = (
    """
    Exact: the fast model of the MAC array, given that operands are there, and that of DRAM and DMA;
    every count that the models start from (symbols, products, bursts), as it is taken from the real
    streams.
    """,
    """
    Modelled, with the error above: the decoder, and how load, decode and product overlap.
    """,
    """
    Not covered by Verilog: the vector engine, drain, sequencer and the chip as a whole. Their
    cycle-stepped models are of the same authors and the same rules as the fast ones, so that
    agreement shows that the rules are carried out as written, not that a chip would have them.
    """,
    """
    The Verilog is azsim's own. Agreement says that azsim's cycles are those of a machine that can
    be built as described in `docs/machine.md`, not those of any product.
    """,
)

_METHOD = (
    """
    Sweeps vary one parameter at a time, with three seeds for each point; zeros are independent and
    lie at random. Random cases draw everything at once, from seeds that azsim's tests do not use,
    edge cases apart. Both are made by `tests/rtl/measure.py`.
    """,
    """
    Arrays are smaller than those of the presets (8 lanes, not 64), as Verilog is slow to simulate;
    the decoder has the 16 lanes and the port of az1.
    """,
    """
    Assumption: the memory is one bus that waits while a bank opens a row; latency, row miss, banks
    and refresh are constants of az1's preset, which are assumptions themselves.
    """,
    """
    Assumption: in the DRAM cases the consumer of weights takes the same work for every burst; in
    the joined pipeline it is the real decoder.
    """,
    """
    Everything is seeded, so that remaking gives the same files.
    """,
)
