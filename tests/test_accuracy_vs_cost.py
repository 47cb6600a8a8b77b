"""The study accuracy_vs_cost: its sums by hand, and the whole of it on recordings of the tree."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from azsim.errors import InputError
from azsim.frontend.workload import load_workload
from azsim.inputs.audio import read_wav
from azsim.inputs.features import preset_features
from azsim.inputs.front_end import log_mel_features
from azsim.pipeline import load_model
from azsim.resources import workloads_directory
from azsim.speech.corpus import MADE_BY, Corpus
from azsim.studies._accuracy_vs_cost import text
from azsim.studies._accuracy_vs_cost.audio import KNOWN_SHA256, SETS
from azsim.studies._accuracy_vs_cost.figures import (
    errors_of,
    paired_standard_error,
    rate_figures,
    seed_figures,
    shuffled_rate,
    unsaid_figures,
)
from azsim.studies._accuracy_vs_cost.jobs import hear_uncompressed, workload_of
from azsim.studies._accuracy_vs_cost.measure import study
from azsim.studies._accuracy_vs_cost.plots import NAMES, front, plots
from azsim.studies._accuracy_vs_cost.rows import POST, SEEDS, TESTS, TRAINED, UNITS, Row, rows
from azsim.studies._write import Figure
from azsim.word_errors import WordErrors, rate_standard_error

REPORT = Path(__file__).parents[1] / "reports" / "accuracy_vs_cost"


# ---------------------------------------------------------------------------------- figures


def drawn(seed: int, count: int = 40) -> list[WordErrors]:
    generator = np.random.default_rng(seed)
    return [
        WordErrors(int(words), substitutions=int(generator.integers(words + 1)))
        for words in generator.integers(1, 8, count)
    ]


def test_against_a_model_without_errors_the_paired_error_is_that_of_the_rate() -> None:
    found = drawn(1)
    perfect = [WordErrors(each.words) for each in found]
    assert paired_standard_error(found, perfect) == pytest.approx(rate_standard_error(found))
    assert paired_standard_error(found, found) == 0


def test_the_paired_error_is_that_of_drawing_utterances_anew() -> None:
    found, other = drawn(2, 300), drawn(2, 300)
    other = [WordErrors(a.words, max(0, a.errors - i % 2)) for i, a in enumerate(other)]
    table = np.array([(a.errors - b.errors, a.words) for a, b in zip(found, other, strict=True)])
    generator = np.random.default_rng(0)
    sums = [table[generator.integers(300, size=300)].sum(axis=0) for _ in range(2_000)]
    rates = [more / words for more, words in sums]
    assert paired_standard_error(found, other) == pytest.approx(np.std(rates), rel=0.06)


def test_rates_by_hand() -> None:
    said = ["turn it on", "stop", "open"]
    found = rate_figures("k", errors_of(said, ["turn it", "stop", "close the"]))
    assert found["k.wer"] == Figure(60.0, "% of words")  # one missing, one wrong, one too many
    against = errors_of(said, said)
    more = rate_figures("k", errors_of(said, ["turn it", "stop", "open"]), against)
    assert more["k.more"] == Figure(20.0, "points")
    assert more["k.more_se"] == more["k.se"]


def test_sound_of_another_sentence_by_hand() -> None:
    said = ["stop", "stop", "open the door"]
    assert shuffled_rate(said, said) == round(100 * (3 + 3 + 3) / 5, 2)
    assert shuffled_rate(said, ["", "", ""]) == 100


def test_what_nobody_said_by_hand() -> None:
    heard = {"noise_only": ["", "stop", "", ""], "out_of_vocabulary": ["turn on lights", "open"]}
    figures = unsaid_figures(
        "k", heard, ["turn on umbrella", "stop"], frozenset({"turn", "on", "stop"})
    )
    assert figures["k.noise_only.empty"].value == 75
    assert figures["k.out_of_vocabulary.wer"].value == 50
    assert figures["k.out_of_vocabulary.known_words"].value == round(100 * 2 / 3, 1)


def test_one_training_has_no_standard_error() -> None:
    some = [Row("word", "trained", "w4", seed) for seed in SEEDS] + [Row("word", "post", "w4")]
    values = dict(zip(some, (4.0, 5.0, 9.0, 7.0), strict=True))
    figures = {
        f"{row.key}.{name}.wer": Figure(value, "% of words")
        for row, value in values.items()
        for name in TESTS
    }
    found = seed_figures(figures, some)
    start = f"word.trained.w4.{TESTS[0]}.wer"
    assert [found[f"{start}_{key}"].value for key in ("mean", "seeds")] == [6.0, 3]
    assert found[f"{start}_seed_se"].value == round(math.sqrt((4 + 1 + 9) / 2 / 3), 2)
    alone = f"word.post.w4.{TESTS[0]}.wer"
    assert found[f"{alone}_seeds"].value == 1
    assert f"{alone}_seed_se" not in found


# ------------------------------------------------------------------------------------- rows


def test_rows_are_those_whose_weights_are_there(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        rows(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: trained weights are missing, found no word_float.npz, char_float.npz; "
        "make them: azsim train all"
    )
    for name in ("word_float", "char_float", "word_float_2", "word_w3", "char_w3_2"):
        (tmp_path / f"{name}.npz").touch()
    some = rows(tmp_path)
    assert [row for row in some if row.way == "trained"] == [Row("word", "trained", "w3")]
    assert [row.seed for row in some if row.seed] == [2] * sum(row.seed > 0 for row in some)
    assert len({row.key for row in some}) == len(some) > 2 * len(POST)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("scheme", sorted({*POST, *TRAINED}))
def test_every_scheme_is_one_of_a_workload(tmp_path: Path, unit: str, scheme: str) -> None:
    workload = workload_of(Row(unit, "trained", scheme), tmp_path)
    assert workload.compression.default.weights is not None
    assert scheme in NAMES


# ------------------------------------------------------------------------------- the whole


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the shipped models; what they say is nothing, but they say it always."""
    folder = tmp_path_factory.mktemp("weights")
    for unit in UNITS:
        overrides = ("model.weights=null", "model.seed=3")
        model = load_model(load_workload(f"speech_commands_{unit}", overrides))
        tensors = {
            name: array
            for name, array in model.graph.initializers.items()
            if array.dtype == np.float32
        }
        for name in ("float", "w4", "s75_1", "float_1"):
            np.savez(folder / f"{unit}_{name}.npz", allow_pickle=False, **tensors)
    return folder


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Recordings of the tree as a corpus: three of each set, those of voices for unknown words."""
    folder = tmp_path_factory.mktemp("corpus")
    tree = workloads_directory() / "speech_commands"
    with (tree / "utterances.csv").open(encoding="utf-8") as file:
        listed = list(csv.DictReader(file))
    document = {"made_by": MADE_BY, "schema_version": 1, "sets": {}}
    for name in SETS:
        source = "unseen_voices" if name == "out_of_vocabulary" else name
        chosen = [row for row in listed if row["set"] == source][:3]
        samples = [read_wav((tree / row["file"]).read_bytes(), row["file"])[0] for row in chosen]
        features = [log_mel_features(each, preset_features("commands")) for each in samples]
        (folder / name).mkdir()
        bounds = np.cumsum([0, *map(len, features)])
        np.savez(folder / name / "rows.npz", rows=bounds)
        np.save(folder / name / "features_0.npy", np.concatenate(features).astype(np.float32))
        with (folder / name / "utterances.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["text"], *([row["text"]] for row in chosen)])
        entry = {"utterances": len(chosen), "hours": 0.01, "audio_sha256": KNOWN_SHA256[name]}
        document["sets"][name] = entry
    (folder / "corpus.json").write_text(json.dumps(document))
    return Corpus.open(folder)


@pytest.mark.parametrize("unit", UNITS)
def test_chip_and_host_hear_the_same_of_the_same_weights(
    weights: Path, recordings: Corpus, unit: str
) -> None:
    assert hear_uncompressed(unit, weights, recordings.folder, TESTS) == (6, [])


@pytest.mark.slow
def test_the_whole_study_on_a_few_recordings(
    weights: Path, recordings: Corpus, tmp_path: Path
) -> None:
    wanted = {("post", "w8"), ("trained", "w4"), ("trained", "s75")}
    some = [row for row in rows(weights) if (row.way, row.scheme) in wanted]
    told: list[tuple[str, int, int]] = []
    study(tmp_path, weights, recordings, some, lambda *now: told.append(now), timed=1)
    assert told[-1][1] == told[-1][2]
    data = json.loads((tmp_path / "data.json").read_text("utf-8"))
    figures = {key: Figure(**entry) for key, entry in data["figures"].items()}
    for row in some:
        assert figures[f"{row.key}.{TESTS[0]}.wer"].value > 0
        if row.seed == 0:
            assert figures[f"{row.key}.bit_exact"].value == 1
    for unit in UNITS:
        assert figures[f"{unit}.uncompressed.utterances"].value == 6
        assert figures[f"{unit}.float.{TESTS[0]}.wer_seeds"].value == 2
        assert front(figures, unit, "bits_per_weight")
    said_again(tmp_path, figures)
    assert "nan" not in (tmp_path / "README.md").read_text("utf-8")


def said_again(folder: Path, figures: dict[str, Figure]) -> None:
    """Text and plots are of the figures alone."""
    examples = (folder / "unknown_words.csv").read_text("utf-8")
    written = {"README.md": text.readme(figures, examples), **plots(figures)}
    for name, content in written.items():
        assert (folder / name).read_text("utf-8") == content, name


@pytest.mark.parametrize(("most", "end"), [(30, 100), (83, 100), (90, 200), (494, 1000)])
def test_plots_have_room_for_the_worst_model(most: float, end: int) -> None:
    """Of all words; one that says much that nobody said may have more than all wrong."""
    data = json.loads((REPORT / "data.json").read_text("utf-8"))
    figures = {key: Figure(**entry) for key, entry in data["figures"].items()}
    for key in figures:
        if key.endswith(f".{TESTS[0]}.wer"):
            figures[key] = Figure(min(figures[key].value, most), "%")
    ends = re.findall(r">(100|200|500|1000)</text>", plots(figures)["sqnr.svg"])
    assert max(map(int, ends)) == end


def test_the_report_says_what_its_data_say() -> None:
    data = json.loads((REPORT / "data.json").read_text("utf-8"))
    figures = {key: Figure(**entry) for key, entry in data["figures"].items()}
    said_again(REPORT, figures)
    assert figures["audio.as_committed"].value == 1
    assert {figures[key].value for key in figures if key.endswith(".bit_exact")} == {1}
    for unit in UNITS:
        assert figures[f"{unit}.uncompressed.utterances"].value == 2_000
        assert figures[f"{unit}.uncompressed.different"].value == 0
        assert figures[f"{unit}.shuffled.{TESTS[0]}.wer"].value >= 80
