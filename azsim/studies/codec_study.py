"""Which codec stores pruned, quantized weights in the fewest bits, and what does its decoder cost?

All codecs on the tensors of Silero VAD, on seeded synthetic weights and on the reference
matrices: bits per weight with everything counted, against order-0 entropy and against the codec
of Arm's Ethos-U; weights per cycle from the streams.
"""  # noqa: D400 - a study starts with its question

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from azsim.studies._write import Figure, figures_text, write_study

if TYPE_CHECKING:
    from azsim.survey.codec_table import CodecFigures
    from azsim.survey.tensors import CodeMatrix

__all__ = ["run", "sample"]

# What computes is imported where it is used: the list of studies is quick, what they run is not.

NAME = "codec_study"
_MLW = "mlw"
_BITMAP_PALETTE = "bitmap+palette"
_DIGITS = 4
_BITS, _RATE = "bits/weight", "weights/cycle"
_COST_ROW = "silero.lstm.b8.s75"
_SAMPLES = (
    "silero.encoder.3.weight.b8.s50",
    "silero.encoder.2.weight.b4.s0",
    "laplace.b4.s50",
    "lap.b2.s90",
)


def run(directory: Path, progress: Callable[[str, int, int], None] | None = None) -> None:
    """Make the study anew: ``README.md``, ``data.json`` and plots in `directory`.

    Without the package ``ethos-u-vela`` the column of Arm's codec is left out.

    Parameters
    ----------
    directory : Path
        Made if it is missing.
    progress : callable, optional
        ``progress(stage, done, total)``.

    Raises
    ------
    InputError
        If a reference matrix comes out otherwise, or the directory cannot be written.
    FetchError
        If the model cannot be had.
    """
    from azsim.studies._codec_study_plots import plots
    from azsim.studies._codec_study_sets import read_files
    from azsim.studies._codec_study_text import readme

    figures = _figures(_all_sets(), progress)
    files = read_files()
    write_study(
        directory,
        {
            "README.md": readme(figures, files),
            "data.json": figures_text(NAME, figures, files),
            **plots(figures),
        },
    )


def sample() -> Mapping[str, Figure]:
    """Compute a few of the figures anew, for a test to compare with the committed ones."""
    return _figures(_all_sets(_SAMPLES.__contains__), None)


def _all_sets(wanted: Callable[[str], bool] = lambda name: True) -> list[CodeMatrix]:
    from azsim.studies._codec_study_sets import reference_sets, silero_sets, synthetic_sets

    return [*reference_sets(wanted), *silero_sets(wanted), *synthetic_sets(wanted)]


def _figures(
    matrices: Iterable[CodeMatrix], progress: Callable[[str, int, int], None] | None
) -> dict[str, Figure]:
    """Every codec on every matrix; no figure depends on the machine."""
    from azsim.codecs import codec_names
    from azsim.hardware import load_hardware
    from azsim.studies._codec_study_sets import REFERENCE
    from azsim.survey.codec_table import codec_table, codec_variants

    matrices = list(matrices)
    hardware = load_hardware("az1")
    variants = codec_variants(sorted([*codec_names(), _BITMAP_PALETTE]))
    figures: dict[str, Figure] = {}
    for done, matrix in enumerate(matrices):
        if progress is not None:
            progress("encode and decode", done, len(matrices))
        rows = codec_table([matrix], hardware, variants, speed=False)
        figures[f"{matrix.name}.entropy"] = Figure(round(rows[0].entropy_bits, _DIGITS), _BITS)
        figures[f"{matrix.name}.weights"] = Figure(matrix.codes.size, "weights")
        figures[f"{matrix.name}.zeros"] = Figure(round(100 * rows[0].zeros, 2), "% of weights")
        for row in rows:
            figures |= _row_figures(row)
            if row.decode_weights_per_cycle is not None and matrix.name in REFERENCE:
                rate = Figure(round(row.decode_weights_per_cycle, 2), _RATE)
                figures[f"{matrix.name}.{row.codec}.az1_weights_per_cycle"] = rate
        size_bytes = _mlw_bytes(matrix)
        if size_bytes is not None:
            bits = round(8 * size_bytes / matrix.codes.size, _DIGITS)
            figures[f"{matrix.name}.{_MLW}.bits_per_weight"] = Figure(bits, _BITS)
        if matrix.name == _COST_ROW:
            figures |= _cost_figures(rows)
    return figures


def _row_figures(row: CodecFigures) -> dict[str, Figure]:
    """Size, and the rate of the decoder alone; nothing if the codec refuses."""
    if row.encoded_bytes is None or row.decode_cycles is None:
        return {}
    start = f"{row.tensor}.{row.codec}"
    bits = round(8 * row.encoded_bytes / row.weights, _DIGITS)
    return {
        f"{start}.bits_per_weight": Figure(bits, _BITS),
        f"{start}.weights_per_cycle": Figure(round(row.weights / row.decode_cycles, 2), _RATE),
    }


def _cost_figures(rows: Iterable[CodecFigures]) -> dict[str, Figure]:
    return {
        f"decoder.{row.codec}.{key}": Figure(getattr(row.cost, key), unit)
        for row in rows
        if row.cost is not None
        for key, unit in (
            ("table_bits", "bits"),
            ("register_bits", "bits"),
            ("multiplexers", "multiplexers"),
            ("adders", "adders"),
            ("comparators", "comparators"),
        )
    }


def _mlw_bytes(matrix: CodeMatrix) -> int | None:
    """Size of Arm's stream; None without Arm's encoder."""
    try:
        from ethosu import mlw_codec
    except ImportError:
        return None
    return len(mlw_codec.encode(matrix.codes.reshape(-1).tolist(), 0))
