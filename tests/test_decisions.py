"""What a workload's outputs decide, against the float model and against labels."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from azsim.errors import AzsimError, ConfigError, InputError
from azsim.evaluate import evaluate_stream
from azsim.frontend.workload import Workload, load_workload
from azsim.hardware import load_hardware
from azsim.inputs.labels import read_labels
from azsim.pipeline import run
from azsim.report import text
from azsim.report.files import run_document
from azsim.report.tables import render
from azsim.stages.budgets import check_expectations
from azsim.stages.keys import StageKeys
from azsim.stages.prepare import prepare
from azsim.sweeps.sweep_file import load_sweep

# Two outputs a frame: five classes, and one probability.
GRAPH = """
name: decide
model:
  graph:
    inputs: {x: {shape: [1, FRAMES, 16]}}
    initializers:
      w: {shape: [16, 5], random: {seed: 0}}
      v: {shape: [16, 1], random: {seed: 1}}
    nodes:
      - {op: MatMul, inputs: [x, w], outputs: [classes]}
      - {op: MatMul, inputs: [x, v], outputs: [h]}
      - {op: Sigmoid, inputs: [h], outputs: [spoken]}
    outputs: [classes, spoken]
input: {random: {seed: 2, frames: 50}}
stream: {time_axis: {x: 1}, chunk_frames: FRAMES}
compression: {default: {weights: {bits: 2}, activations: {bits: 8}, codec: raw}}
"""
COUNT = 50


def workload(folder: Path, decisions: str, frames: int = 1) -> Workload:
    path = folder / "w.yaml"
    path.write_text(GRAPH.replace("FRAMES", str(frames)) + decisions)
    return load_workload(path)


def float_decisions(given: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Class and yes or no of each frame, by the float model."""
    ready = prepare(given)
    outputs, _ = evaluate_stream(
        ready.compressed.graph, ready.frames, {}, {}, None, ["classes", "spoken"]
    )
    classes = outputs["classes"].reshape(-1, 5)[:COUNT]
    return classes.argmax(axis=1), (outputs["spoken"].reshape(-1)[:COUNT] >= 0.5).astype(int)


@pytest.mark.parametrize("frames", [1, 3])
def test_decisions_are_compared_with_the_float_models_and_with_labels(
    tmp_path: Path, frames: int
) -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(5, size=COUNT)
    np.savez(tmp_path / "class.npz", labels=labels)
    said = rng.integers(2, size=COUNT)
    (tmp_path / "yes.csv").write_text("speech\n" + "\n".join(map(str, said)) + "\n")
    given = workload(
        tmp_path,
        "decisions:\n"
        "  word: {output: classes, labels: class.npz}\n"
        "  speech: {output: spoken, threshold: 0.5, labels: yes.csv}\n",
        frames,
    )
    result = run(given, timeline=False)
    by_float, yes_by_float = float_decisions(given)
    found = result.outputs["classes"].reshape(-1, 5)[:COUNT].argmax(axis=1)
    yes = result.outputs["spoken"].reshape(-1)[:COUNT] >= 0.5
    # 50 frames are 16 chunks of three and two frames more: the zeros behind them do not count.
    assert result.summary["decisions"] == {
        "word": {
            "agreement": np.mean(found == by_float),
            "frames": COUNT,
            "accuracy": np.mean(found == labels),
            "float_accuracy": np.mean(by_float == labels),
        },
        "speech": {
            "agreement": np.mean(yes == yes_by_float),
            "frames": COUNT,
            "accuracy": np.mean(yes == said),
            "float_accuracy": np.mean(yes_by_float == said),
        },
    }
    assert 0 < np.mean(found == by_float) < 1  # 2 bits do cost something
    hashes = run_document(result)["files_sha256"]
    assert isinstance(hashes, dict)
    for name in ("class.npz", "yes.csv"):
        assert hashes[name] == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    shown = render([text.summary(result)], 120)
    agreement = f"{100 * np.mean(found == by_float):.1f} %"
    assert f"agreement {agreement}" in shown
    right = f"{100 * np.mean(found == labels):.1f} % are the labels'"
    assert f"of 50 decisions are the float model's; {right}" in shown


def test_agreement_may_have_a_budget(tmp_path: Path) -> None:
    given = workload(
        tmp_path,
        "decisions: {word: {output: classes}, speech: {output: spoken, threshold: 2}}\n"
        "expect: {decision_agreement: {min: 0.995}}\n",
    )
    result = run(given, timeline=False)
    least = result.decisions["word"].agreement
    assert check_expectations(given, result) == [
        f"decision_agreement is {least}, expected at least 0.995"
    ]
    given = workload(tmp_path, "expect: {decision_agreement: {min: 0.995}}\n")
    assert check_expectations(given, run(given, timeline=False)) == [
        "decision_agreement is not known for this run, and a limit is set for it"
    ]


def test_without_labels_only_agreement_is_known_and_without_a_section_nothing(
    tmp_path: Path,
) -> None:
    given = workload(tmp_path, "decisions: {speech: {output: spoken, threshold: 2}}")
    assert run(given, timeline=False).summary["decisions"] == {
        "speech": {"agreement": 1.0, "frames": COUNT, "accuracy": None, "float_accuracy": None}
    }
    result = run(workload(tmp_path, ""), timeline=False)
    assert result.summary["decisions"] == {}
    assert "agreement" not in render([text.summary(result)], 120)


def test_a_threshold_is_met_by_what_equals_it(tmp_path: Path) -> None:
    (tmp_path / "yes.csv").write_text("1\n" * COUNT)
    section = "decisions: {speech: {output: spoken, threshold: %s, labels: yes.csv}}"
    least = float(run(workload(tmp_path, ""), timeline=False).outputs["spoken"].min())
    for threshold, missed in ((least, 0), (np.nextafter(np.float32(least), np.float32(2)), 1)):
        given = workload(tmp_path, section % repr(float(threshold)))
        check = run(given, timeline=False).decisions["speech"]
        assert check.accuracy == (COUNT - missed) / COUNT


def test_labels_and_decisions_are_in_the_key_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "yes.csv").write_text("1\n" * COUNT)
    chip = load_hardware("az1")
    section = "decisions: {speech: {output: spoken, threshold: %s, labels: yes.csv}}"
    one = StageKeys(workload(tmp_path, section % 0.5), chip, chip)
    other = StageKeys(workload(tmp_path, section % 0.25), chip, chip)
    plain = StageKeys(workload(tmp_path, ""), chip, chip)
    before = one.run
    (tmp_path / "yes.csv").write_text("0\n" * COUNT + "\n")
    changed = StageKeys(workload(tmp_path, section % 0.5), chip, chip)
    assert len({before, other.run, plain.run, changed.run}) == 4
    assert len({one.program, other.program, plain.program, changed.program}) == 1


WRONG_FILES = {
    "decisions: {a: {}}": (
        "$.decisions.a.output: missing key, allowed: a string that is not empty"
    ),
    "decisions: {a: {output: spoken, treshold: 1}}": (
        "$.decisions.a.treshold: unknown key 'treshold', did you mean 'threshold'? "
        "allowed: 'output', 'threshold', 'labels', 'sha256', 'archive_sha256'"
    ),
    "decisions: {a: {output: spoken, threshold: 0.5, sha256: %s}}" % ("ab" * 32): (
        "$.decisions.a.sha256: the hash of a file, found no 'labels'; give the file"
    ),
    "decisions: {a: {output: spoken, threshold: 0.5, labels: said.txt}}": (
        "$.decisions.a.labels: not a file of labels, found '.txt', allowed: .npz, .npy, .csv"
    ),
    "decisions: {a: {output: spoken, threshold: 0.5, labels: 'pypi:a==1#b.csv'}}": (
        "$.decisions.a.sha256: missing key; a file of a package must be pinned: pypi:a==1#b.csv"
    ),
    "decisions: {a: {output: spoken, threshold: .inf}}": (
        "$.decisions.a.threshold: not a value: a number is finite, found '.inf'"
    ),
}


@pytest.mark.parametrize("section", WRONG_FILES)
def test_a_wrong_section_is_said_with_its_place(tmp_path: Path, section: str) -> None:
    with pytest.raises(InputError) as found:
        workload(tmp_path, section)
    place, _, sentence = str(found.value).partition(": ")
    assert place.startswith(f"{tmp_path / 'w.yaml'}:")
    assert sentence == WRONG_FILES[section]


def problem(given: Workload) -> list[str]:
    with pytest.raises(AzsimError) as found:
        run(given, timeline=False)
    lines = str(found.value).splitlines()
    assert all(line.startswith(f"{given.source.path}:") for line in lines)
    return [line.partition(": ")[2] for line in lines]


def test_what_the_model_cannot_decide_is_said_all_at_once(tmp_path: Path) -> None:
    given = workload(
        tmp_path,
        "decisions:\n"
        "  a: {output: clases}\n"
        "  b: {output: spoken}\n"
        "  c: {output: classes, labels: short.csv}\n"
        "  d: {output: spoken, threshold: 0.5, labels: high.npy}\n",
    )
    (tmp_path / "short.csv").write_text("1\n2\n")
    np.save(tmp_path / "high.npy", np.full(COUNT, 2))
    assert problem(given) == [
        (
            "$.decisions.a: unknown graph output 'clases', did you mean 'classes'? "
            "allowed: classes, spoken"
        ),
        (
            "$.decisions.b: one number is the largest of nothing, found 'spoken' of "
            "float32[1, 1, 1]; give a threshold"
        ),
        "$.decisions.c.labels: 50 decisions are taken, found 2 labels",
        "$.decisions.d.labels: label 0 is 2, allowed: 0 to 1",
    ]


def test_state_and_choices_decide_nothing(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(
        """
name: state
model:
  graph:
    inputs: {x: {shape: [1, 8]}, s: {shape: [1, 8]}}
    initializers: {w: {shape: [8, 8], random: {seed: 0}}}
    nodes:
      - {op: MatMul, inputs: [x, w], outputs: [h]}
      - {op: Add, inputs: [h, s], outputs: [next]}
      - {op: ArgMax, inputs: [next], outputs: [choice], attributes: {axis: 1, keepdims: 0}}
    outputs: [next, choice]
input: {random: {seed: 2, frames: 3}}
stream: {time_axis: {x: 0}, state: {s: next}}
decisions: {a: {output: next}, b: {output: choice}}
"""
    )
    first, second = problem(load_workload(path))
    assert first == "$.decisions.a: 'next' is carried state, allowed: choice"
    assert second.startswith("$.decisions.b: 'choice' holds choices already (int")
    assert second.endswith("; outputs.choice.equal_share compares them")


def test_labels_that_are_not_there_are_said_with_the_other_files(tmp_path: Path) -> None:
    given = workload(
        tmp_path,
        "decisions: {a: {output: classes, labels: none.csv}, b: {output: classes, labels: no.npy}}",
    )
    lines = problem(given)
    assert [line.partition(": ")[0] for line in lines] == [
        "$.decisions.a.labels",
        "$.decisions.b.labels",
    ]
    assert all("no such file" in line.lower() for line in lines)


# ------------------------------------------------------------------------------- label files


def test_labels_come_from_any_of_three_kinds_of_file(tmp_path: Path) -> None:
    wanted = [0, 3, 1]
    np.save(tmp_path / "a.npy", np.array(wanted, np.uint8)[:, None])
    np.savez(tmp_path / "a.npz", other=np.zeros(2), word=np.array(wanted, np.float32))
    np.savez(tmp_path / "b.npz", anything=np.array([True, False]))
    (tmp_path / "a.csv").write_text("0\n3\n\n1\n")
    (tmp_path / "b.csv").write_bytes("\ufeffword\r\n0\r\n3\r\n1\r\n".encode())
    for name in ("a.npy", "a.npz", "a.csv", "b.csv"):
        found = read_labels(tmp_path / name, "word")
        assert (found.dtype, found.tolist()) == (np.int64, wanted), name
    assert read_labels(tmp_path / "b.npz", "word").tolist() == [1, 0]


def test_a_wrong_file_of_labels_is_refused(tmp_path: Path) -> None:
    def refused(name: str, content: bytes | np.ndarray | dict[str, np.ndarray]) -> str:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, dict):
            np.savez(path, **content)  # pyright: ignore[reportArgumentType]
        else:
            np.save(path, content)
        with pytest.raises(InputError) as found:
            read_labels(path, "word")
        return str(found.value).removeprefix(str(path))

    assert refused("a.csv", b"1\nyes\n") == ":2: not a number, found 'yes'"
    assert refused("b.csv", b"1,2\n") == ":1: one number a line, found 2 fields"
    assert refused("c.csv", b"1\n1.5\n") == ": label 1 is 1.5, allowed: whole numbers"
    assert refused("d.csv", b"\xff\xfe\n").startswith(": not a CSV file: ")
    assert refused("a.npy", b"text").startswith(": not an npy file: ")
    assert refused("b.npy", np.array(["a"])) == ": labels of type <U1, allowed: whole numbers"
    assert refused("c.npy", np.array([1, np.nan])) == ": label 1 is nan, allowed: whole numbers"
    assert refused("d.npy", np.zeros((2, 3))) == (
        ": labels along more than one axis, found shape (2, 3), allowed: one number a frame"
    )
    assert refused("a.npz", b"text").startswith(": not an npz file: ")
    assert refused("b.npz", {"a": np.zeros(2), "b": np.zeros(2)}) == (
        ": no array 'word', found a, b, allowed: that one, or one alone"
    )


# ----------------------------------------------------------------------------- the workloads


@pytest.mark.fetch
def test_the_voice_activity_of_a_second_of_speech_is_decided_at_one_half() -> None:
    given = load_workload("vad_silero")
    assert json.loads(json.dumps({n: d.threshold for n, d in given.decisions.items()})) == {
        "speech": 0.5
    }
    result = run(given, timeline=False)
    ready = prepare(given)
    outputs, _ = evaluate_stream(
        ready.compressed.graph,
        ready.frames,
        ready.state,
        ready.initial_state,
        None,
        ["speech_probs"],
    )
    wanted = np.stack(list(outputs["speech_probs"])).reshape(-1) >= 0.5
    found = result.outputs["speech_probs"].reshape(-1) >= 0.5
    check = result.decisions["speech"]
    assert (check.agreement, check.frames) == (np.mean(found == wanted), 32)


# --------------------------------------------------------------------------------- in sweeps


def sweep_problems(folder: Path, lines: str) -> list[str]:
    workload(folder, "decisions: {word: {output: classes}}")
    path = folder / "sweep.yaml"
    path.write_text(
        "name: s\nworkload: w.yaml\n"
        "axes: {clock: {path: hardware.clock_hz, values: [1_000_000, 2_000_000]}}\n" + lines
    )
    with pytest.raises(ConfigError) as found:
        load_sweep(path)
    return [line.partition(": ")[2] for line in found.value.problems]


def test_a_sweep_that_wants_what_is_not_decided_is_refused(tmp_path: Path) -> None:
    assert sweep_problems(
        tmp_path,
        "objectives:\n"
        "  a: {key: decisions.wrod.agreement, goal: maximize}\n"
        "  b: {key: decisions.word.agreemnt, goal: maximize}\n"
        "  c: {key: decisions.word.accuracy, goal: maximize}\n"
        "  d: {key: 1 - decisions.words.agreement}\n"
        "constraints: [decisions.word.float_accuracy > 0.5, decisions.word.agreement > 0.5]\n",
    ) == [
        (
            "$.objectives.a.key: unknown decision of the workload 'wrod', did you mean 'word'? "
            "allowed: word"
        ),
        (
            "$.objectives.b.key: unknown figure of a decision 'agreemnt', did you mean "
            "'agreement'? "
            "allowed: agreement, accuracy, float_accuracy, frames"
        ),
        (
            "$.objectives.c.key: the decision 'word' has no labels, found 'accuracy', "
            "allowed: agreement, frames"
        ),
        (
            "$.objectives.d.key: unknown decision of the workload 'words', did you mean 'word'? "
            "allowed: word"
        ),
        (
            "$.constraints[0]: the decision 'word' has no labels, found 'float_accuracy', "
            "allowed: agreement, frames"
        ),
    ]


def test_what_an_override_decides_may_be_wanted(tmp_path: Path) -> None:
    workload(tmp_path, "")
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "name: s\nworkload: w.yaml\n"
        "set: ['workload.decisions={word: {output: classes}}']\n"
        "axes: {clock: {path: hardware.clock_hz, values: [1_000_000, 2_000_000]}}\n"
        "objectives: {a: {key: decisions.word.agreement, goal: maximize}}\n"
    )
    assert load_sweep(path).objectives[0].unit == "1"
