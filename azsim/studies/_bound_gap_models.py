"""The models that azsim builds in the study bound_gap: cycles against both bounds, by run."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor

from azsim.studies._write import Figure, table

__all__ = ["CHIPS", "MODELS", "measure_models", "models_table", "models_text", "ratios"]

CHIPS = ("az1", "az2")
MODELS: Mapping[str, tuple[str, ...]] = {
    "gemm": (),
    "lstm_cell": (),
    "attention_window_small": (),
    "attention_window": (),
    "speech_rnnt_small": (),
    "speech_rnnt_audio": (),
    "speech_rnnt_mlperf": ("input.random.frames=16",),
    "speech_rnnt_google": ("input.random.frames=8",),
    "speech_commands_word": ("input.first=5",),
    "speech_commands_word_w4_s75": ("input.first=5",),
    "speech_commands_char": ("input.first=5",),
    "speech_commands_char_w4_s75": ("input.first=5",),
    "speech_conformer_tiny": (),
    "speech_conformer_small": ("input.random.frames=64",),
    "ssm_s4d": (),
    "ssm_mamba_xs": (),
    "ssm_mamba_s": (),
    "ssm_mamba_m": (),
    "ssm_mamba_130m": ("input.random.frames=4",),
    "ssm_mamba2_small": (),
    "ssm_mamba2_130m": ("input.random.frames=4",),
}
"""Shipped workloads, and what makes a long one shorter."""

_ENGINES = {"mac": "MAC array", "decoder": "decoder", "dram": "DRAM", "vector": "vector engine"}
_AT_A_TIME = 2  # a model of 129 million weights takes 2 GB


def _runs() -> list[tuple[str, str]]:
    return [(workload, chip) for workload in MODELS for chip in CHIPS]


def measure_models(step: Callable[[str], None]) -> dict[str, Figure]:
    """Run every model on every chip; `step` is told of each."""
    figures: dict[str, Figure] = {}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(_AT_A_TIME, mp_context=spawn, max_tasks_per_child=1) as pool:
        for run, found in zip(_runs(), pool.map(_measure, _runs()), strict=True):
            figures |= found
            step(" on ".join(run))
    return figures


def _measure(run: tuple[str, str]) -> dict[str, Figure]:
    from azsim.frontend.workload import load_workload
    from azsim.hardware import load_hardware
    from azsim.pipeline import run as simulate

    workload, chip = run
    hardware = load_hardware(chip)
    loaded = load_workload(workload, MODELS[workload])
    result = simulate(loaded, hardware, timeline=False, checked=False)
    start = f"models.{workload}.{chip}"
    bounds = result.bounds
    least = max(bounds.bound_cycles, bounds.critical_path_cycles)
    return {
        f"{start}.frames": Figure(result.statistics.frames, "frames"),
        f"{start}.together": Figure(result.statistics.chunks_together, "frames"),
        f"{start}.cycles": Figure(result.statistics.cycles, "cycles"),
        **{
            f"{start}.bound.{engine}": Figure(cycles, "cycles")
            for engine, cycles in bounds.by_engine.items()
        },
        f"{start}.critical_path": Figure(bounds.critical_path_cycles, "cycles"),
        f"{start}.over_both": Figure(round(result.statistics.cycles / least, 4), "x"),
    }


def ratios(figures: Mapping[str, Figure]) -> Iterator[tuple[str, str, float]]:
    """Workload, chip and cycles over the larger of both bounds."""
    for workload, chip in _runs():
        yield workload, chip, figures[f"models.{workload}.{chip}.over_both"].value


def models_text(figures: Mapping[str, Figure], promised: float) -> str:
    """What the table says, in two sentences."""
    every = list(ratios(figures))
    kept = [run for run in every if run[2] <= promised]
    far = sorted((run for run in every if run[2] > promised), key=lambda run: -run[2])
    listed = ", ".join(f"{workload} {ratio:.2f} on {chip}" for workload, chip, ratio in far)
    beyond = f" **Above it, farthest first: {listed}.**" if far else ""
    return (
        f"Of the models that azsim builds, {len(kept)} of {len(every)} runs are within "
        f"{promised:.2f}.{beyond}"
    )


def models_table(figures: Mapping[str, Figure]) -> str:
    """One row a run."""
    rows = []
    for workload, chip in _runs():
        start = f"models.{workload}.{chip}"
        bounds = {name: figures[f"{start}.bound.{name}"].value for name in _ENGINES}
        engine = max(bounds, key=bounds.__getitem__)
        counts = (
            figures[f"{start}.frames"].value,
            figures[f"{start}.together"].value,
            figures[f"{start}.cycles"].value,
            bounds[engine],
            figures[f"{start}.critical_path"].value,
        )
        ratio = f"{figures[f'{start}.over_both'].value:.3f}"
        rows.append((workload, chip, _ENGINES[engine], *(f"{n:,}" for n in counts), ratio))
    heads = (
        "workload", "chip", "binds", "frames", "together", "cycles", "`bound_cycles`",
        "`critical_path_cycles`", "/ larger of both",
    )  # fmt: skip
    return table(heads, rows, texts=3)
