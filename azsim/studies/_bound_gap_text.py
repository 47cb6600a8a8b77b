"""The answer of the study bound_gap in words, tables and a plot, all from its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from azsim.studies._bound_gap_models import models_table, models_text
from azsim.studies._bound_gap_runs import BOUNDED, CHIPS, WORKLOADS, Gap, bound_by, run_key
from azsim.studies._svg import Axis, bars
from azsim.studies._write import Figure, table

__all__ = ["PROMISED", "plots", "readme"]

PROMISED = 1.10
"""What the project promises of cycles over the larger of both bounds."""

_Figures = Mapping[str, Figure]
_QUESTION = "How far is a compiled program from the least time that its work can take?"
_RUNS = tuple((workload, chip) for workload in WORKLOADS for chip in CHIPS)
_PARTS = (
    "work of the engine that binds",
    "filling weight SRAM",
    "dependences within frames",
    "rest: above both bounds",
)
_ENGINES = {"mac": "MAC array", "decoder": "decoder", "dram": "DRAM", "vector": "vector engine"}


def readme(figures: _Figures, gaps: Sequence[Gap]) -> str:
    """Return the study's ``README.md``."""
    parts = [
        f"# {_QUESTION}",
        _flow("""
            Made by `azsim study bound_gap -o reports/bound_gap`, and not edited by hand. Every
            number below is in [data.json](data.json) or follows from those there by the rule
            that is stated; the gaps are in [gaps.csv](gaps.csv).
        """),
        "## Answer",
        _answer(figures),
        "## Cycles and bounds",
        _flow(_BOUNDS_TEXT),
        _items(*_BOUND_TEXTS),
        _ratio_table(figures),
        "![Cycles over the larger of both bounds](gap.svg)",
        _flow(_PLOT_TEXT),
        "The bound of each engine, in cycles:",
        _engine_table(figures),
        "## Models that azsim builds",
        models_text(figures, PROMISED),
        _flow(_MODELS_TEXT),
        models_table(figures),
        "## Where the cycles went",
        _flow(_WHERE_TEXT),
        _where_table(figures),
        _items(*_where_items(figures)),
        _flow(_DRAM_TEXT),
        _dram_table(figures),
        "## Start and frames of the streams",
        _flow(_STREAM_TEXT),
        _stream_table(figures),
        "## Gaps of one frame",
        _flow(_GAP_TEXT),
        *_gap_tables(gaps),
        _flow(_FORCED_TEXT),
        "## What was run, and what is assumed",
        _items(*_RUN_TEXTS),
    ]
    return "\n\n".join(parts) + "\n"


_MODELS_TEXT = """
    Measured as above, long ones on a shorter input: decoding is counted as often as it came in the
    run, and a weight larger than weight SRAM is read anew in each round of a loop. *Together*:
    frames (chunks, where a stream has them) that the program computes side by side, none of which
    had to be waited for; they may need what comes from DRAM once. What is above the bounds here was
    not looked at run by run: chains of small vector work between the products of a single row,
    fences where data decides, and state that comes and goes are in no bound of an engine.
"""


def plots(figures: _Figures) -> dict[str, str]:
    """Return the plot by file name."""
    ticks = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, PROMISED, 1.3)
    axis = Axis(
        "cycles over the larger of bound_cycles and critical_path_cycles",
        ticks,
        tuple(f"{tick:g}" for tick in ticks),
    )
    rows = []
    for workload, chip in _RUNS:
        at = _Run(figures, workload, chip)
        lengths = [part / at.least for part in at.parts]
        rows.append((f"{workload}, {chip}", lengths, f"{at['over_both']:.2f}"))
    return {"gap.svg": bars("Cycles, and what no program could avoid", axis, _PARTS, rows)}


class _Run:
    """The figures of one run by their short names."""

    def __init__(self, figures: _Figures, workload: str, chip: str) -> None:
        self._figures, self._start = figures, run_key(workload, chip)
        self.workload, self.chip = workload, chip
        self.engine = bound_by(figures, workload, chip)

    def __getitem__(self, name: str) -> float:
        return self._figures[f"{self._start}.{name}"].value

    def get(self, name: str) -> float:
        """Value of a figure, 0 where the run has none."""
        return self[name] if f"{self._start}.{name}" in self._figures else 0

    @property
    def is_stream(self) -> bool:
        return self["frames"] > 1

    @property
    def bound(self) -> float:
        return self[f"bound.{self.engine}"]

    @property
    def least(self) -> float:
        return max(self.bound, self["critical_path"])

    @property
    def parts(self) -> tuple[float, float, float, float]:
        """Cycles by `_PARTS`; they add up to the run's."""
        forced = self.least - self.bound
        frames = self.get("frame.path") * self["frames"]
        within = min(forced, max(0, frames - self.bound))
        return self.bound, forced - within, within, self["cycles"] - self.least


def _runs(figures: _Figures) -> Iterator[_Run]:
    for workload, chip in _RUNS:
        yield _Run(figures, workload, chip)


def _flow(text: str) -> str:
    """Join the lines of a paragraph."""
    return " ".join(text.split())


def _items(*texts: str, mark: str = "-") -> str:
    return "\n".join(f"{mark.format(i)} {_flow(text)}" for i, text in enumerate(texts, 1))


def _answer(figures: _Figures) -> str:
    runs = list(_runs(figures))
    kept = [run for run in runs if run["over_both"] <= PROMISED]
    broken = [run for run in runs if run["over_both"] > PROMISED]
    inside = ", ".join(f"{run.workload} {run['over_both']:.3f} on {run.chip}" for run in kept)
    texts = [
        f"""
            {len(kept)} of {len(runs)} runs take at most {PROMISED:.2f} times the larger of
            `bound_cycles` and `critical_path_cycles`: {inside}.
        """
    ]
    if broken:
        outside = ", ".join(
            f"{run.workload} {run['over_both']:.3f} on {run.chip}" for run in broken
        )
        why = " and ".join(
            f"{100 * run['bound.dram'] / run['bound.decoder']:.0f} % on {run.chip}"
            for run in broken
            if run.engine == "decoder"
        )
        easier = " and ".join(
            f"{run['cycles_without.both']:,} cycles ({run['cycles_without.both'] / run.least:.3f})"
            f" on {run.chip}"
            for run in broken
        )
        texts.append(f"""
            **Not within {PROMISED:.2f}: {outside}.** Its nine small layers run once. Loads through
            the decoder bind, and DRAM is nearly as busy: its bound is {why} of the decoder's. The
            inputs and outputs of all layers share DRAM with those loads, and rows are opened and
            refreshed meanwhile; the bound of the decoder, alone with each load, counts neither, and
            no bound counts both engines together. The same programs on a DRAM without row openings
            and refreshes take {easier}. The rest was not proven to be forced.
        """)
    streams = [run for run in runs if run.is_stream]
    for chip in CHIPS:
        of_chip = [run for run in streams if run.chip == chip]
        long = max(of_chip, key=lambda run: run["frames"])
        texts.append(f"""
            Against `bound_cycles` alone, the streams on {chip} look worse:
            {" and ".join(f"{run['over_bound']:.2f} ({run.workload})" for run in of_chip)}. Of the
            {100 * (long["cycles"] - long.bound) / long["cycles"]:.1f} % of the longer run's cycles
            above its bound, {100 * (long.least - long.bound) / long["cycles"]:.1f} % are on the
            longest chain of dependent work (a dynamic scale needs all of a layer before the next
            one begins), {100 * (long["cycles"] - long.least) / long["cycles"]:.1f} % are not.
        """)
    for run in runs:
        if run.engine == "decoder" and run not in broken:
            above = run["cycles"] - run.bound
            saved = run["cycles"] - run["cycles_without.both"]
            texts.append(f"""
                {run.workload} on {run.chip} streams its weights through the decoder: of {above:,}
                cycles above the bound, {saved:,} are gone with a DRAM without row openings and
                refreshes.
            """)
    texts.append(models_text(figures, PROMISED))
    return _items(*texts, mark="{}.")


_BOUNDS_TEXT = """
    `cycles` is the run's length by the fast model, waiting for the next frame of a paced stream
    not counted. The bounds come from the compressed graph and the chip, never from the emitted
    program, with one exception: az2 skips zero activations, so that the array's time for a product
    is a matter of the data, and is taken from the run. Ratios are of cycles, without unit.
"""

_BOUND_TEXTS = (
    """
        `bound_cycles`: the largest of four bounds, one for each engine, on the work that is
        necessary: DRAM (inputs, outputs and constants once, weights once if they can stay in weight
        SRAM, else once per use by the frames that are computed together; rows opened, and refreshes
        but for one between two waits for a frame), decoder (each load as if it were alone on the
        chip: its decoder with all rows open, or the bus with those that it opens), MAC array (its
        time with inputs ready, and the drains, one for each function that a product's results pass,
        at that function's rate and each through the pipeline), vector engine (every step as one
        instruction does it; no search for dynamic scales, as what writes their inputs may have
        found the largest magnitudes). Engines do not wait for one another in it.
    """,
    """
        `critical_path_cycles`: the longest chain of dependent work. For a single frame, and for
        frames that are over before the next arrives, it is computed with one of each engine: a
        step begins with the first of what it reads, and cannot end before its engine has done all
        of its work, in whatever order, and the shortest way from each part of that to the step is
        gone; a dynamic scale is known only when all that it serves is there, and a product begins
        with the first code that is no padding. Scales of which each needs the one before are found
        one by one. Of what data decides, a frame has what ran in it, and is not over before the
        last number that is asked for is there.
        Frames come one after another, and the first one may be computed while weight SRAM is
        filled, but is not over before the decoder is done with all weights that it uses. So it is
        not the chain with any number of engines, which is `chain_cycles` and far
        shorter, and it holds the array's work as well.
    """,
    """
        Neither is a sum of what competes: DRAM that loads, inputs and outputs share is in none of
        them, and steps are cut into no more instructions than one.
    """,
)


def _ratio_table(figures: _Figures) -> str:
    heads = (
        "workload", "chip", "binds", "frames", "cycles", "startup", "`bound_cycles`",
        "`critical_path_cycles`", "`chain_cycles`", "/ bound", "/ larger of both",
    )  # fmt: skip
    rows = []
    for run in _runs(figures):
        names = ("frames", "cycles", "startup")
        counts = (*(run[name] for name in names), run.bound, run["critical_path"], run["chain"])
        over = f"{run['over_both']:.3f}"
        rows.append(
            (
                run.workload,
                run.chip,
                _ENGINES[run.engine],
                *(f"{count:,}" for count in counts),
                f"{run['over_bound']:.3f}",
                over if run["over_both"] <= PROMISED else f"**{over}**",
            )
        )
    return table(heads, rows, texts=3)


_PLOT_TEXT = """
    Each bar is a run, 1 being the larger of both bounds. *Work of the engine that binds*:
    `bound_cycles`. *Dependences within frames*: frames times the chain of one frame, less that
    work. *Filling weight SRAM*: what the critical path has beyond its frames, the first one of
    which it has beside the filling, or beside the loads of that frame's weights. *Rest*: what is
    above both.
"""


def _engine_table(figures: _Figures) -> str:
    rows = [
        (run.workload, run.chip, *(f"{run[f'bound.{engine}']:,}" for engine in BOUNDED))
        for run in _runs(figures)
    ]
    return table(("workload", "chip", *(_ENGINES[name] for name in BOUNDED)), rows, texts=2)


_WHERE_TEXT = """
    As the engine that binds sees it, in cycles; where that is the decoder, its instructions are
    the weight loads. The columns add up to `cycles`. *Bound*: its part of `bound_cycles`.
    *Beyond*: what its instructions took above the bound: for the array, groups of lanes of a drain
    that are not full, and products cut into pieces with a pipeline each; for loads, DRAM that
    others used, and refreshes. *Before*: until its first instruction begins.
    *Vector*, *load*, *store*, *other*: standing still, its next instruction given out and waiting
    for that engine. *Not given out*: the next instruction was not there yet. *After*: from its
    last instruction to the run's end.
"""

_NAMED = ("wait_vector", "wait_load", "wait_store")


def _where_table(figures: _Figures) -> str:
    heads = (
        "workload", "chip", "engine", "instructions", "bound", "beyond", "before",
        "vector", "load", "store", "other", "not given out", "after",
    )  # fmt: skip
    rows = []
    for run in _runs(figures):
        known = [
            run.get(f"where.{name}")
            for name in ("bound", "beyond", "before_first", *_NAMED, "no_work", "after_last")
        ]
        other = run["cycles"] - sum(known)
        counts = (run["instructions"], *known[:6], other, *known[6:])
        rows.append(
            (run.workload, run.chip, _ENGINES[run.engine], *(f"{count:,}" for count in counts))
        )
    return table(heads, rows, texts=3)


def _where_items(figures: _Figures) -> list[str]:
    """Say of each run what the largest parts above its bound are."""
    names = {
        "beyond": "its instructions' own time beyond the bound",
        "before_first": "before its first instruction",
        "wait_vector": "waiting for the vector engine",
        "wait_load": "waiting for inputs",
        "wait_store": "waiting for stores",
        "wait_weight": "waiting for weights",
        "wait_mac": "waiting for the array",
        "no_work": "its next instruction not given out",
        "after_last": "after its last instruction",
    }
    texts = []
    for run in _runs(figures):
        above = run["cycles"] - run.bound
        found = sorted(((run.get(f"where.{name}"), name) for name in names), reverse=True)
        told = ", ".join(
            f"{cycles:,} ({100 * cycles / above:.0f} %) {names[name]}"
            for cycles, name in found[:4]
            if cycles >= 0.02 * above
        )
        texts.append(f"`{run.workload}` on {run.chip}, {above:,} above the bound: {told}.")
    return texts


_DRAM_TEXT = """
    What DRAM's own ways cost: the same program timed on a chip whose DRAM has no refreshes, takes
    no time to open a row, or neither. In cycles; *saved* is in per cent of `cycles`.
"""


def _dram_table(figures: _Figures) -> str:
    heads = ("workload", "chip", "cycles", "no refreshes", "no row openings", "neither", "saved")
    rows = []
    for run in _runs(figures):
        names = ("refreshes", "row_openings", "both")
        cycles = [run["cycles"], *(run[f"cycles_without.{name}"] for name in names)]
        saved = f"{100 * (1 - cycles[-1] / cycles[0]):.1f} %"
        rows.append((run.workload, run.chip, *(f"{count:,}" for count in cycles), saved))
    return table(heads, rows, texts=2)


_STREAM_TEXT = """
    *Startup*: cycles until weight SRAM is filled and the stream begins, beside what DRAM needs at
    least for it: *bytes* at the peak rate, *rows* opened once each, *refreshes* in their share of
    that time. *Frame*: the cycles after the startup over the frames. *Chain*: what the critical
    path has for a frame (of the mean work, where the array skips zero activations and frames
    differ). *Array*: the array's bound over the frames. What is between array and chain is forced
    by dependences. What is between chain and frame is not proven to be.
"""


def _stream_table(figures: _Figures) -> str:
    heads = (
        "workload", "chip", "startup", "bytes", "rows", "refreshes", "frame", "chain", "array",
        "frame / chain",
    )  # fmt: skip
    rows = []
    for run in _runs(figures):
        if not run.is_stream:
            continue
        frame = (run["cycles"] - run["startup"]) / run["frames"]
        names = ("startup", "startup.bytes", "startup.rows", "startup.refreshes")
        rows.append(
            (
                run.workload,
                run.chip,
                *(f"{run[name]:,}" for name in names),
                f"{frame:,.0f}",
                f"{run['frame.path']:,}",
                f"{run.bound / run['frames']:,.0f}",
                f"{frame / run['frame.path']:.3f}",
            )
        )
    return table(heads, rows, texts=2)


_GAP_TEXT = """
    The longest stretches, of 5 cycles and more, in which the engine that binds stood still in the
    frame in the middle of the run (all of the run, where there is a single frame). *From*, *to*:
    layers of its instructions before and after; the gap before a frame's first instruction begins
    at the last one of the frame before. *Ended last*: the other engines' instruction whose end came
    last before the gap's end, and its layer: of the engine that was waited for, or of any where the
    next instruction was not yet given out. A gap before the first instruction is not listed for
    the first frame of a stream.
"""


def _gap_tables(gaps: Sequence[Gap]) -> Iterator[str]:
    heads = ("from", "to", "waiting for", "ended last", "cycles")
    for workload, chip in _RUNS:
        own = [gap for gap in gaps if (gap.workload, gap.chip) == (workload, chip)]
        where = f"frame {own[0].frame + 1:,}" if own else "none"
        yield f"`{workload}` on {chip}, {where}:" if own else f"`{workload}` on {chip}: none."
        if own:
            yield table(heads, map(_gap_row, own), texts=4)


def _gap_row(gap: Gap) -> tuple[str, ...]:
    reason = gap.reason.removeprefix("wait_").replace("no_work", "not given out")
    ended = f"`{gap.ended_mnemonic}` of {gap.ended_layer}"
    return gap.after, gap.layer, reason, ended, f"{gap.cycles:,}"


_FORCED_TEXT = """
    A gap that a `vector_quantize` ends is one of a dynamic scale: the next product's codes are
    made with a scale that is known when the last result of the layer before is there, so the
    quantization of the whole (its first group at the least) and two pipelines lie between the
    array's last drain and its next product. Only other work of the same frame could stand in such
    a gap: that of an LSTM with its carried state needs nothing of the layers before. Layers that
    follow one another have none. The gap at a frame's begin is the end of the frame before (the
    last results through the vector engine, and the store) and the new frame's first codes.
"""

_RUN_TEXTS = (
    """
        Every workload of `workloads/` as it is shipped, on the chips `az1` and `az2` instead of
        its own. The numbers are those of `azsim run WORKLOAD --hardware CHIP`.
    """,
    """
        Exact: bytes, products and instructions, and so the work that bounds count. Modelled:
        cycles, by the rules of docs/machine.md and docs/engines.md; how far those are from
        stepped models and Verilog is the study `timing_agreement`.
    """,
    """
        Assumption: a bound is as good as the description of the machine, whose sizes and rates
        are assumptions (`azsim/hardware/presets`). The bounds hold for the operators in the form
        in which the compiler lowers and fuses them and cuts matrices into tiles; another
        factoring of the same graph could need less.
    """,
    """
        Assumption: frames of a stream come one after another, each over before the next one
        arrives, which every paced stream here keeps; nothing of one is there to fill another's
        gaps. Where no frame has to be waited for, as many are at work together as the compiler has
        chosen (`chunks_together`).
    """,
    """
        What single passes of the compiler bring is not measured here; there is no run without
        them.
    """,
)
