"""How far a model's cycles are from those of RTL."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["check_agreement", "distribution"]

_LONG = 1000


def _errors(
    model: Sequence[int], rtl: Sequence[int], long_cycles: int
) -> tuple[np.ndarray, np.ndarray]:
    """Relative errors of the cases of so many cycles or more, cycles of error of the others."""
    found, wanted = np.asarray(model, np.int64), np.asarray(rtl, np.int64)
    is_long = wanted >= long_cycles
    relative = (found[is_long] - wanted[is_long]) / wanted[is_long]
    return relative, (found - wanted)[~is_long]


def distribution(model: Sequence[int], rtl: Sequence[int], *, long_cycles: int = _LONG) -> str:
    """Describe the errors in a line."""
    relative, cycles = _errors(model, rtl, long_cycles)
    parts = [f"{len(rtl)} cases"]
    if relative.size:
        size = np.abs(relative) * 100
        quantiles = np.quantile(size, [0.5, 0.9])
        parts.append(
            f"{relative.size} of {long_cycles} cycles or more: error mean {size.mean():.3f} %, "
            f"median {quantiles[0]:.3f} %, 90th percentile {quantiles[1]:.3f} %, "
            f"worst {size.max():.3f} %, bias {100 * relative.mean():+.3f} %"
        )
    if cycles.size:
        parts.append(
            f"{cycles.size} shorter: {np.count_nonzero(cycles == 0)} equal, "
            f"off by {cycles.min():+d} to {cycles.max():+d} cycles"
        )
    return "; ".join(parts)


def check_agreement(
    model: Sequence[int], rtl: Sequence[int], *, mean: float, worst: float, slack_cycles: int,
    long_cycles: int = _LONG,
) -> None:  # fmt: skip
    """Fail unless the model is within the bounds that the project promises."""
    relative, cycles = _errors(model, rtl, long_cycles)
    line = distribution(model, rtl, long_cycles=long_cycles)
    assert relative.size, line
    assert np.abs(relative).mean() <= mean, line
    assert np.abs(relative).max() <= worst, line
    assert not cycles.size or np.abs(cycles).max() <= slack_cycles, line
