"""The answer of the study eie_layers in words, tables and a plot, all from its figures."""

from __future__ import annotations

from collections.abc import Mapping

from azsim.studies._eie_layers_paper import ABSTRACT_FRAMES_PER_S, LAYERS
from azsim.studies._svg import Axis, Line, Panel, chart
from azsim.studies._write import Figure, table
from azsim.studies.eie_layers import DEPTHS

__all__ = ["plots", "readme"]

_Figures = Mapping[str, Figure]
_CLOCK_MHZ, _DEPTH = 800, 8
_NETWORKS = {"AlexNet": "alex", "VGG-16": "vgg", "NeuralTalk": "nt"}
_QUESTION = (
    "What does EIE's machine take for its nine layers, and what do padding and imbalance cost?"
)
_PLACES = ("Alex-6, VGG-6, NT-We", "Alex-7, VGG-7, NT-Wd", "Alex-8, VGG-8, NT-LSTM")


def readme(figures: _Figures) -> str:
    """Return the study's ``README.md``."""
    parts = [
        f"# {_QUESTION}",
        _flow("""
            Made by `azsim study eie_layers -o reports/eie_layers`, and not edited by hand. Every
            number below is in [data.json](data.json).
        """),
        "## Answer",
        _answer(figures),
        "## Time per layer",
        _flow(_TIME_TEXT),
        _time_table(figures),
        "## Against the paper's times",
        _flow(_PAPER_TEXT),
        _paper_table(figures),
        _paper_sum(figures),
        "## Depth of the activation queues",
        _flow(_DEPTH_TEXT),
        _depth_table(figures),
        "![Load balance against queue depth](balance.svg)",
        "## What was run, and what is assumed",
        _items(*_RUN_TEXTS),
        _layer_table(figures),
    ]
    return "\n\n".join(parts) + "\n"


def plots(figures: _Figures) -> dict[str, str]:
    """Return the plot by file name."""
    depth = Axis("activations in a queue", tuple(map(float, DEPTHS)), tuple(map(str, DEPTHS)), True)
    balance = Axis("load balance (%)", *_ticks(range(0, 101, 20)))

    def line(label: str, layer: str) -> Line:
        points = ((d, figures[f"{layer}.queue_{d}.balance"].value, "") for d in DEPTHS)
        return Line(label, tuple(points))

    panels = []
    for network, start in _NETWORKS.items():
        layers = [layer for layer in LAYERS if layer.startswith(start)]
        lines = tuple(line(label, layer) for label, layer in zip(_PLACES, layers, strict=True))
        panels.append(Panel(network, depth, balance, lines))
    title = "Entries taken over cycles of 64 lanes, by depth of the activation queues"
    return {"balance.svg": chart(title, panels)}


def _flow(text: str) -> str:
    """Join the lines of a paragraph."""
    return " ".join(text.split())


def _items(*texts: str, mark: str = "-") -> str:
    return "\n".join(f"{mark.format(i)} {_flow(text)}" for i, text in enumerate(texts, 1))


def _ticks(values: range) -> tuple[tuple[float, ...], tuple[str, ...]]:
    return tuple(map(float, values)), tuple(map(str, values))


def _us(cycles: float) -> float:
    return cycles / _CLOCK_MHZ


def _simulated(figures: _Figures, layer: str, depth: int = _DEPTH) -> float:
    return figures[f"{layer}.queue_{depth}.cycles"].value


def _shares(figures: _Figures, key: str) -> list[float]:
    return [figures[f"{layer}.{key}"].value for layer in LAYERS]


def _answer(figures: _Figures) -> str:
    padding = {
        layer: figures[f"{layer}.entry_cycles"].value / figures[f"{layer}.ideal_cycles"].value - 1
        for layer in LAYERS
    }
    waiting = {
        layer: 1 - figures[f"{layer}.entry_cycles"].value / _simulated(figures, layer)
        for layer in LAYERS
    }
    most, least = (pick(padding, key=lambda name: padding[name]) for pick in (max, min))
    worst, best = (pick(waiting, key=lambda name: waiting[name]) for pick in (max, min))
    ratios = [_us(_simulated(figures, name)) / row.actual_us for name, row in LAYERS.items()]
    balances = {depth: _shares(figures, f"queue_{depth}.balance") for depth in DEPTHS}
    first, own, last = (sum(balances[d]) / len(LAYERS) for d in (DEPTHS[0], _DEPTH, DEPTHS[-1]))
    return _items(
        f"""
            Padding entries add {100 * padding[least]:.0f} % ({LAYERS[least].title}) to
            {100 * padding[most]:.0f} % ({LAYERS[most].title}) to the products: with 4-bit row
            indices they matter where weights are sparsest, at 4 % above all.
        """,
        f"""
            With queues of {_DEPTH}, lanes wait {100 * waiting[best]:.0f} % ({LAYERS[best].title})
            to {100 * waiting[worst]:.0f} % ({LAYERS[worst].title}) of the time. Short columns
            balance worst: a lane of NT-We owns 9 or 10 rows, and in
            {figures["nt_we.empty_columns"].value:.0f} % of its columns all of them are zero.
        """,
        f"""
            Deeper queues help, and soon no more: the mean load balance is {first:.0f} % at depth
            {DEPTHS[0]}, {own:.0f} % at {_DEPTH} and {last:.0f} % at {DEPTHS[-1]}. The paper says
            the same of its own layers (section VI): around half of the cycles idle at depth 1,
            diminishing returns beyond 8.
        """,
        f"""
            Simulated times are {min(ratios):.2f} to {max(ratios):.2f} of the paper's actual ones,
            {sum(ratios) / len(ratios):.2f} on average. Most are a little shorter: patterns here are
            random, those of trained layers are less even.
        """,
        mark="{}.",
    )


_TIME_TEXT = """
    One input vector, weights in SRAM, in microseconds at 800 MHz. *Ideal*: products of two
    non-zero factors over 64 a cycle. *Padding*: what the entries add that stand for no product (a
    run of more than 15 zeros). *Imbalance*: everything else, the simulated time of the layer's
    matrix products less the two: lanes that wait for the slowest one, columns in which a lane has
    no entry, the pipeline. Results are drained after that, 64 a cycle.
"""


def _time_table(figures: _Figures) -> str:
    rows = []
    for layer, published in LAYERS.items():
        ideal = figures[f"{layer}.ideal_cycles"].value
        entries = figures[f"{layer}.entry_cycles"].value
        simulated = _simulated(figures, layer)
        parts = (ideal, entries - ideal, simulated - entries, simulated)
        rows.append(
            (
                published.title,
                *(f"{_us(part):.2f}" for part in parts),
                f"{simulated:,.0f}",
                f"{100 * ideal / simulated:.0f} %",
            )
        )
    heads = ("layer", "ideal", "padding", "imbalance", "simulated", "cycles", "ideal / simulated")
    return table(heads, rows)


_PAPER_TEXT = """
    Microseconds. *Theoretical* and *actual* are the paper's (table IV, 64 processing elements),
    taken from the copy in the public repository cucapra/fodlam (`raw/eie-raw.csv`,
    `data/eie-layers.csv`); they are of trained, pruned networks with activations of their own,
    whose patterns are not known here. *Entries* is azsim's counterpart of the theoretical time:
    all entries over 64 a cycle. Nothing in azsim was fitted to these numbers.
"""


def _paper_table(figures: _Figures) -> str:
    rows = []
    for layer, published in LAYERS.items():
        entries = _us(figures[f"{layer}.entry_cycles"].value)
        simulated = _us(_simulated(figures, layer))
        rows.append(
            (
                published.title,
                f"{published.theoretical_us:.1f}",
                f"{entries:.1f}",
                f"{entries / published.theoretical_us:.2f}",
                f"{published.actual_us:.1f}",
                f"{simulated:.1f}",
                f"{simulated / published.actual_us:.2f}",
            )
        )
    heads = ("layer", "theoretical", "entries", "ratio", "actual", "simulated", "ratio")
    return table(heads, rows)


def _paper_sum(figures: _Figures) -> str:
    total = sum(_us(_simulated(figures, layer)) for layer in LAYERS if layer.startswith("alex"))
    far = sorted(LAYERS, key=lambda name: _us(_simulated(figures, name)) / LAYERS[name].actual_us)
    return _flow(f"""
        The three layers of AlexNet one after the other: {total:.1f} us simulated; the paper's
        abstract says {ABSTRACT_FRAMES_PER_S:,} frames a second, which are
        {1e6 / ABSTRACT_FRAMES_PER_S:.1f} us. {LAYERS[far[0]].title} and {LAYERS[far[1]].title} are
        farthest off, and their entries already are: the paper's theoretical times hold more of them
        than random zeros at these densities make. Either their zeros lie in longer runs, or the
        densities, which are from memory, are too low.
    """)


_DEPTH_TEXT = """
    The paper's figure of load balance against FIFO depth: entries taken over cycles times 64
    lanes, in per cent; the rest is waiting. The depth counts the activation at work. It is a
    timing key: one execution, replayed under each depth.
"""


def _depth_table(figures: _Figures) -> str:
    rows = [
        (row.title, *(f"{figures[f'{layer}.queue_{depth}.balance'].value:.1f}" for depth in DEPTHS))
        for layer, row in LAYERS.items()
    ]
    return table(("layer", *map(str, DEPTHS)), rows)


_RUN_TEXTS = (
    """
        Workload `eie_layers`: the paper's layers at full size. Sizes and densities are those of
        its table of benchmarks, from memory. Each weight is zero or not on its own; of the inputs
        exactly the share is not zero. So lanes differ by chance alone.
    """,
    """
        Chip `eie`, but with 32 MiB of weight SRAM, so that all nine layers lie in it at once;
        each alone takes less than the chip's 10,485,760 bytes (below). A layer of more than 4,096
        outputs runs in several turns, and lanes meet between them.
    """,
    """
        Exact: outputs (bit for bit the reference evaluator's, all of them), products, entries,
        bytes, and so the columns *ideal* and *padding*. The codes are in blocks of `csc` with
        4-bit indices and a palette of 15 values, and the array takes those blocks' own entries.
    """,
    """
        Modelled: cycles, by the rule for decode at read in docs/machine.md, compared with a
        cycle-stepped model of the same rule (tests/test_decode_at_read.py), not with Verilog.
    """,
    """
        Assumption: a column in which a lane has no entry takes it a cycle; the broadcaster finds
        a non-zero activation every cycle; activations are int8 here and 16-bit fixed point in
        EIE, which changes no cycle. Bubbles of the activation memory and write conflicts are not
        modelled.
    """,
    """
        Filling the SRAM over DRAM, quantizing inputs and draining results are not in these times.
    """,
)


def _layer_table(figures: _Figures) -> str:
    heads = (
        "layer", "inputs", "outputs", "weights not zero", "inputs not zero", "products",
        "entries", "no entry", "bytes in SRAM",
    )  # fmt: skip
    rows = []
    for layer, row in LAYERS.items():
        value = {
            key: figures[f"{layer}.{key}"].value
            for key in (
                "inputs", "outputs", "weight_density", "activation_density", "products",
                "entries", "empty_columns", "block_bytes",
            )
        }  # fmt: skip
        rows.append(
            (
                row.title,
                f"{value['inputs']:,}",
                f"{value['outputs']:,}",
                f"{value['weight_density']:.2f} %",
                f"{value['activation_density']:.1f} %",
                f"{value['products']:,}",
                f"{value['entries']:,}",
                f"{value['empty_columns']:.1f} %",
                f"{value['block_bytes']:,}",
            )
        )
    return table(heads, rows)
