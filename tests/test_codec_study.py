"""The study of codecs: its matrices, its claims, and what it says without Arm's encoder."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from azsim.codecs import codec_names, decode_block, encode_block
from azsim.compression.compress import entropy_bits
from azsim.studies import _codec_study_sets as sets
from azsim.studies import codec_study
from azsim.studies._codec_study_plots import plots
from azsim.studies._codec_study_text import readme
from azsim.studies._write import Figure

REPORT = Path(__file__).parents[1] / "reports" / "codec_study"
TRAINED = 7 * len(sets.SCHEMES) * len(sets.SHARES)


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    entries = json.loads((REPORT / "data.json").read_text(encoding="utf-8"))["figures"]
    return {key: Figure(entry["value"], entry["unit"]) for key, entry in entries.items()}


def bits(figures: dict[str, Figure], codec: str) -> dict[str, float]:
    end = f".{codec}.bits_per_weight"
    return {k.removesuffix(end): f.value for k, f in figures.items() if k.endswith(end)}


def everything(name: str) -> bool:
    return True


# -------------------------------------------------------------------------------- matrices


@pytest.mark.slow
@pytest.mark.fetch
def test_reference_matrices_have_the_published_hashes() -> None:
    found = list(sets.reference_sets(everything))  # raises where a hash differs
    assert [matrix.name for matrix in found] == list(sets.REFERENCE)
    assert {matrix.codes.shape for matrix in found} == {(512, 256), (1024, 1024)}
    for matrix in found:
        assert np.abs(matrix.codes).max() <= 2 ** (matrix.bits - 1) - 1


def test_synthetic_sets_are_seeded_and_have_their_structure() -> None:
    names = {f"laplace.b4.{structure}" for structure in sets.STRUCTURES}
    first, again = (list(sets.synthetic_sets(names.__contains__)) for _ in range(2))
    assert [matrix.name for matrix in first] == [m.name for m in again]
    found = {matrix.name.rsplit(".", 1)[1]: matrix.codes for matrix in first}
    for matrix in again:
        np.testing.assert_array_equal(matrix.codes, found[matrix.name.rsplit(".", 1)[1]])
    for structure, share in (("s50", 0.5), ("s75", 0.75), ("s90", 0.9), ("blk16s75", 0.75)):
        assert float((found[structure] == 0).mean()) >= share
    assert (np.count_nonzero(found["2of4"].reshape(-1, 4), axis=1) <= 2).all()
    kept = found["blk16s75"].reshape(-1, 16).any(axis=1)
    assert kept.mean() == pytest.approx(0.25, abs=0.001)


def test_block_zeros_at_two_bits_go_there_and_back() -> None:
    wanted = {f"{name}.b2.blk16s75" for name in sets.DISTRIBUTIONS}
    for matrix in sets.synthetic_sets(wanted.__contains__):
        for name in codec_names():
            block = encode_block(name, matrix.codes, 2, columns=matrix.codes.shape[1])
            np.testing.assert_array_equal(decode_block(block)[0], matrix.codes.reshape(-1))


# --------------------------------------------------------------------------------- claims


def test_lane_tans_is_below_arms_codec_and_the_prototype(figures: dict[str, Figure]) -> None:
    own, arm = bits(figures, "lane_tans"), bits(figures, "mlw")
    assert len(own) == len(arm) == len(sets.REFERENCE) + TRAINED + 90
    for name, row in sets.REFERENCE.items():
        assert own[name] <= row.prototype_bits + 0.0005
        assert own[name] < arm[name]
    trained = [name for name in own if name.startswith("silero.") and name not in sets.REFERENCE]
    assert len(trained) == TRAINED
    for name in trained:
        assert own[name] < arm[name], name


def test_rice_is_within_a_percent_of_arms_codec(figures: dict[str, Figure]) -> None:
    rice, arm = bits(figures, "rice"), bits(figures, "mlw")
    for name in arm:
        # A header of 16 bytes is ours.
        own = rice[name] - 8 * 16 / figures[f"{name}.weights"].value
        assert own == pytest.approx(arm[name], rel=0.01), name


def test_rates_of_lane_tans(figures: dict[str, Figure]) -> None:
    rate = "lane_tans.weights_per_cycle"
    assert figures[f"silero.lstm.b8.s0.{rate}"].value >= 15.9
    assert figures[f"silero.lstm.b8.s75.{rate}"].value >= 28
    assert figures[f"laplace.b8.s75.{rate}"].value >= 28


def test_every_codec_and_every_set_is_in_the_report(figures: dict[str, Figure]) -> None:
    for codec in (*codec_names(), "bitmap+palette"):
        assert len(bits(figures, codec)) == len(sets.REFERENCE) + TRAINED + 90
        assert f"decoder.{codec}.table_bits" in figures
    for name in bits(figures, "raw"):
        assert figures[f"{name}.entropy"].value <= 8


@pytest.mark.fetch
def test_entropies_in_the_report_are_those_of_the_codes(figures: dict[str, Figure]) -> None:
    for matrix in sets.reference_sets(lambda name: name.startswith("silero")):
        assert figures[f"{matrix.name}.entropy"].value == round(entropy_bits(matrix.codes), 4)
        zeros = 100 * float((matrix.codes == 0).mean())
        assert figures[f"{matrix.name}.zeros"].value == round(zeros, 2)


# ----------------------------------------------------------------------------------- text


def test_the_report_is_that_of_its_figures(figures: dict[str, Figure]) -> None:
    files = json.loads((REPORT / "data.json").read_text(encoding="utf-8"))["inputs_sha256"]
    made = {"README.md": readme(figures, files), **plots(figures)}
    for name, text in made.items():
        assert (REPORT / name).read_text(encoding="utf-8") == text, name


def test_every_large_tensor_is_listed_one_by_one(figures: dict[str, Figure]) -> None:
    text = readme(figures, {})
    for tensor in ("stft.forward_basis_buffer", "encoder.3.weight", "onnx::LSTM_210"):
        rows = [line for line in text.splitlines() if line.startswith(f"| `{tensor}` |")]
        assert len(rows) == len(sets.SCHEMES) * len(sets.SHARES)


def test_without_arms_encoder_its_column_is_left_out(
    figures: dict[str, Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ethosu", None)
    wanted = {"gauss.b4.s50"}
    found = codec_study._figures(list(sets.synthetic_sets(wanted.__contains__)), None)
    assert "gauss.b4.s50.lane_tans.bits_per_weight" in found
    assert not any(".mlw." in key for key in found)
    without = {key: figure for key, figure in figures.items() if ".mlw." not in key}
    text = readme(without, {})
    assert "Arm's encoder (ethos-u-vela) was not installed: its column is left out." in text
    assert "| mlw |" not in text
    assert "order-0 entropy" in plots(without)["silero.svg"]
