"""What outputs say in words: units, joins, errors, and where they are told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from azsim.errors import AzsimError, InputError
from azsim.evaluate import evaluate_stream
from azsim.frontend.workload import Workload, load_workload
from azsim.inputs.utterances import Utterance
from azsim.pipeline import check_expectations, run
from azsim.report.files import run_document
from azsim.report.tables import render
from azsim.report.words import words
from azsim.sim.statistics import Chunks
from azsim.sim.words import HeardUtterance, WordCheck
from azsim.stages.prepare import prepare
from azsim.stages.transcribe import Reading, check_words, read_units, symbols_of
from azsim.sweeps.objectives import figure
from azsim.sweeps.sweep_file import load_sweep
from azsim.word_errors import word_errors
from recordings import FEATURES, MODEL, UNITS, write_list

SECONDS = (0.5, 0.2, 0.37)
TEXTS = ("up  down", "", "left")


def workload(folder: Path, rest: str, source: str = "utterances: list.csv") -> Workload:
    path = folder / "w.yaml"
    path.write_text(f"{MODEL}input: {{{source}, {FEATURES}}}\n{rest}")
    return load_workload(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_list(tmp_path, SECONDS, TEXTS)
    return tmp_path


def plain_words(outputs: dict[str, np.ndarray], frames: list[int]) -> list[list[str]]:
    """Units of each utterance, frame after frame, for one frame a chunk."""
    found, at = [], 0
    for count in frames:
        heard = []
        for frame in range(at, at + count):
            for place in range(int(outputs["counts"][frame, 0])):
                heard.append(UNITS[outputs["symbols"][frame, 0, place]])
        found.append(heard)
        at += count
    return found


def test_words_of_a_run(folder: Path) -> None:
    given = workload(folder, "transcript: {units: units.txt}\nexpect: {word_error_rate: {max: 0}}")
    result = run(given, timeline=False)
    check = result.words
    assert check is not None
    frames = [round(1000 * seconds / 60 + 0.49) for seconds in SECONDS]
    assert sum(frames) == result.statistics.frames
    heard = plain_words(dict(result.outputs), frames)
    assert sum(map(len, heard)) > 5
    assert [each.heard for each in check.utterances] == [" ".join(line) for line in heard]
    assert [each.said for each in check.utterances] == ["up down", "", "left"]
    errors = [word_errors(text.split(), line) for text, line in zip(TEXTS, heard, strict=True)]
    summary = json.loads(json.dumps(result.summary))
    assert summary["word_error_rate"] == sum(each.errors for each in errors) / 3
    found = summary["words"]
    assert found["words"] == 3
    assert [each["errors"] for each in found["utterances"]] == [each.errors for each in errors]
    for key in ("substitutions", "insertions", "deletions"):
        assert found[key] == sum(getattr(each, key) for each in errors)
        assert found[key] == sum(each[key] for each in found["utterances"])
    assert figure(summary, "words.insertions") == found["insertions"]
    assert found["silent_utterances"] == 1
    assert found["heard_as_silent"] == int(not heard[1])
    files = run_document(result)["files_sha256"]
    assert isinstance(files, dict)
    assert files.keys() >= {"units.txt", "list.csv", "audio/0.wav"}
    (broken,) = check_expectations(given, result)
    assert broken == f"word_error_rate is {summary['word_error_rate']:,}, expected at most 0.0"


def test_float_words_are_those_of_the_float_model_alone(folder: Path) -> None:
    given = workload(folder, "transcript: {units: units.txt}\n")
    check = run(given, timeline=False).words
    assert check is not None
    for number, utterance in enumerate(check.utterances):
        ready = prepare(workload(folder, "", f"audio: audio/{number}.wav"))
        outputs, _ = evaluate_stream(
            ready.compressed.graph, ready.frames, ready.state, ready.initial_state
        )
        (heard,) = plain_words(outputs, [ready.stream.frames])
        assert utterance.float_heard == " ".join(heard)


def test_one_recording_and_its_text(folder: Path) -> None:
    given = workload(
        folder, "transcript: {units: units.txt}\n", "audio: audio/0.wav, text: left up"
    )
    check = run(given, timeline=False).words
    assert check is not None
    (only,) = check.utterances
    assert (only.name, only.said) == ("audio/0.wav", "left up")
    assert check.standard_error is None
    nobody = run(
        workload(folder, "transcript: {units: units.txt}\n", "audio: audio/0.wav"), timeline=False
    )
    assert nobody.words is not None
    assert nobody.words.utterances[0].heard == only.heard
    assert nobody.summary["word_error_rate"] is None
    assert "nobody says what is said" in render(words(nobody.words), 100)


def reading(units: tuple[str, ...], separator: str, chunks: Chunks) -> Reading:
    count = len(chunks.utterance_frames) or 1
    utterances = tuple(Utterance(f"{n}.wav", "go up", 0) for n in range(count))
    return Reading("symbols", "counts", units, separator, utterances, chunks)


def test_characters_are_joined_by_nothing_and_words_by_blanks() -> None:
    units = (" ", "a", "b")
    characters = reading(units, "", Chunks(1))
    assert characters.text([0, 1, 2, 0, 0, 1, 0]) == "ab a"
    assert characters.text([]) == ""
    assert reading(("go", "up"), " ", Chunks(1)).text([0, 1, 1]) == "go up up"


def test_symbols_on_zeros_that_fill_up_a_chunk_are_not_heard() -> None:
    chunks = Chunks(5, 3, (4, 1))
    counts = np.array([[1, 2, 0], [1, 2, 2], [1, 2, 2]], np.int32)
    symbols = np.arange(18, dtype=np.int32).reshape(3, 3, 2)
    found = symbols_of(reading((), " ", chunks), {"symbols": symbols, "counts": counts})
    assert found == [[0, 2, 3, 6], [12]]


def test_a_symbol_without_a_unit() -> None:
    outputs = {"symbols": np.array([[2]], np.int32), "counts": np.array([1], np.int32)}
    with pytest.raises(InputError) as caught:
        check_words(outputs, outputs, reading(("go", "up"), " ", Chunks(1)))
    assert str(caught.value) == (
        "$.transcript.units: symbol 2 of output 'symbols' has no unit, found 2 units"
    )


def test_terminal_shows_what_was_wrong() -> None:
    check = WordCheck(
        tuple(
            HeardUtterance(
                f"{number}.wav",
                heard,
                said,
                said,
                word_errors(said.split(), heard.split()),
                word_errors(said.split(), said.split()),
            )
            for number, (said, heard) in enumerate(
                [("turn it off", "turn off on"), ("go", "so"), ("", ""), ("", "hm")]
            )
        )
    )
    assert render(words(check), 80) == (
        "Words\n"
        "recording  heard            said             errors\n"
        "───────────────────────────────────────────────────\n"
        "0.wav      turn off +on+    turn -it- off         2\n"
        "1.wav      [so]             [go]                  1\n"
        "3.wav      +hm+             (nothing)             1\n"
        "2.wav      (nothing)        (nothing)             0\n"
        "[wrong] +added+ -missing-\n"
        "\n"
        "word error rate: 100.0 % ± 40.8 % (standard error); float model: 0.0 % ± 0.0 %\n"
        "(standard error)\n"
        "measured on 4 utterances with 4 words: 1 substitution, 1 deletion, 2 insertions;\n"
        "25.0 % of the utterances are heard as by the float model\n"
        "nothing is said in 2, nothing heard in 1 of them\n"
    )


def test_characters_of_a_run(folder: Path) -> None:
    (folder / "units.txt").write_text("<space>\na\nb\nc\nd\n")
    given = workload(folder, 'transcript: {units: units.txt, separator: ""}\n')
    result = run(given, timeline=False)
    assert result.words is not None
    counts, symbols = (result.outputs[name] for name in ("counts", "symbols"))
    letters = "".join(
        " abcd"[symbol]
        for row, count in zip(symbols[:9, 0], counts[:9, 0], strict=True)
        for symbol in row[:count]
    )
    assert len(letters) > 5
    assert result.words.utterances[0].heard == " ".join(letters.split())


# ------------------------------------------------------------------------------- what is refused


def sentences(folder: Path, rest: str) -> list[str]:
    with pytest.raises(AzsimError) as caught:
        run(workload(folder, rest))
    return [
        line.replace(f"{folder}/", "").partition(": ")[2] for line in str(caught.value).splitlines()
    ]


def test_a_file_of_units(tmp_path: Path) -> None:
    path = tmp_path / "units.txt"
    path.write_text("<space>\na\n")
    assert read_units(path) == (" ", "a")
    path.write_text("a\n\n b\na\n")
    with pytest.raises(InputError) as caught:
        read_units(path)
    assert str(caught.value).splitlines() == [
        f"{path}:2: no unit; a blank is written <space>",
        f"{path}:3: blanks around a unit, found ' b'",
        f"{path}:4: 'a' is there twice, first in 1",
    ]
    path.write_text("")
    with pytest.raises(InputError, match=r"units\.txt: no units"):
        read_units(path)
    path.write_bytes(b"\xff\n")
    with pytest.raises(InputError, match=r"units\.txt: not UTF-8"):
        read_units(path)


def test_what_does_not_fit_the_model(folder: Path) -> None:
    assert sentences(
        folder, "transcript: {units: units.txt, symbols: encoded, counts: count}\n"
    ) == [
        (
            "$.transcript.symbols: not such an output, found float32[1, 16], "
            "allowed: int32[frames, symbols]"
        ),
        (
            "$.transcript.counts: unknown graph output 'count', did you mean 'counts'? "
            "allowed: symbols, counts, encoded"
        ),
    ]
    (folder / "units.txt").write_text("a\nb\n")
    assert sentences(folder, "transcript: {units: units.txt}\n") == [
        "$.transcript.units: a unit for each symbol but the blank, found 2, allowed: 5"
    ]
    assert sentences(folder, "transcript: {units: units.txt, counts: symbols}\n") == [
        "$.transcript.counts: symbols and counts are two outputs, found 'symbols' for both"
    ]
    found = sentences(folder, "transcript: {units: none.txt}\n")
    assert found == ["$.transcript.units: none.txt: no such file"]


def test_a_sweep_may_ask_for_words(folder: Path) -> None:
    workload(folder, "transcript: {units: units.txt}\n")
    path = folder / "s.yaml"
    text = (
        "name: s\nworkload: w.yaml\naxes: {bits: {path: workload.compression.default.weights.bits, "
        "values: [2, 8]}}\nobjectives: {wer: {key: word_error_rate, goal: minimize}}\n"
        "constraints: [word_error_rate < 5, words.insertions < 1000]\n"
    )
    path.write_text(text)
    (objective,) = load_sweep(path).objectives
    assert (objective.key, objective.unit) == ("word_error_rate", "1")
    workload(folder, "")
    with pytest.raises(AzsimError) as caught:
        load_sweep(path)
    assert "no words are heard" in str(caught.value)
