"""Several recordings in one workload: each begins anew, on one program."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from azsim.errors import AzsimError, InputError
from azsim.frontend.workload import Workload, load_workload
from azsim.hardware import load_hardware
from azsim.inputs.utterances import read_utterances
from azsim.isa.program import WAKE
from azsim.machine.engines.clock import ENGINES
from azsim.pipeline import compile_workload, run
from azsim.sim.statistics import Chunks
from azsim.stages.keys import StageKeys
from azsim.stages.prepare import prepare, wakes
from recordings import FEATURES, MODEL, write_list

SECONDS = (0.5, 0.2, 0.37)
TEXTS = ("up down", "", "left")


def workload(folder: Path, source: str, rest: str = "") -> Workload:
    path = folder / "w.yaml"
    path.write_text(f"{MODEL}input: {{{source}, {FEATURES}}}\n{rest}")
    return load_workload(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_list(tmp_path, SECONDS, TEXTS, ("a", "b", "a"))
    return tmp_path


@pytest.mark.parametrize("stream", ["", "stream: {chunk_frames: 4, arrival: paced}\n"])
def test_each_utterance_is_heard_as_if_it_were_alone(folder: Path, stream: str) -> None:
    result = run(workload(folder, "utterances: list.csv", stream), verify=True)
    assert result.comparison is not None
    assert result.comparison.bit_exact, result.comparison.first_difference
    alone = [
        run(workload(folder, f"audio: audio/{number}.wav", stream), timeline=False)
        for number in range(3)
    ]
    for name in ("symbols", "counts", "encoded"):
        rank = result.outputs[name].ndim
        parts = [one.outputs[name] for one in alone]
        joined = np.concatenate([part.reshape(-1, *part.shape[1 - rank :]) for part in parts])
        assert joined.tobytes() == result.outputs[name].tobytes()
    for name in result.carried:
        assert alone[-1].outputs[name].tobytes() == result.outputs[name].tobytes()
    assert result.statistics.frames == sum(one.statistics.frames for one in alone)
    # What stays on the chip is loaded once, and not for each.
    weights = [one.statistics.weight_read_bytes for one in alone]
    assert result.statistics.weight_read_bytes == weights[0] == weights[1]


def test_latency_is_that_of_the_frames_and_not_of_waking(folder: Path) -> None:
    paced = "stream: {arrival: paced}\n"
    # Buffers lie elsewhere in DRAM: let no row that is open for one and not for the other count.
    hardware = load_hardware("az1", ["dram.row_miss_ns=0"])
    result = run(workload(folder, "utterances: list.csv", paced), hardware)
    alone = run(workload(folder, "audio: audio/0.wav", paced), hardware, timeline=False)
    latency, other = result.statistics.frame_latency_s, alone.statistics.frame_latency_s
    assert latency is not None
    assert other is not None
    # Each frame brings a word that says whether it is the last one: a transfer, and no more.
    assert other["p50"] <= latency["p50"] <= other["p50"] + 100 / alone.clock_hz
    layers = {layer.name: layer for layer in result.statistics.layers}
    assert layers[WAKE].dram_read_bytes > 0
    assert sum(layer.cycles for layer in layers.values()) == result.statistics.cycles
    for engine in ENGINES:
        busy = result.statistics.engine_busy_cycles[engine]
        stalled = sum(result.statistics.stall_cycles[engine].values())
        assert busy + stalled == result.statistics.cycles


def test_lengths_are_data_and_no_part_of_the_program(tmp_path: Path) -> None:
    found = []
    for number, seconds in enumerate(((0.5, 0.2, 0.37), (0.37, 0.5, 0.2))):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_list(folder, seconds, TEXTS)
        given = workload(folder, "utterances: list.csv")
        compiled = compile_workload(given)
        found.append((compiled.program, compiled.image.sha256))
        assert prepare(given).inputs[WAKE].sum() == 2
    assert found[0] == found[1]


def test_one_recording_needs_no_waking(folder: Path) -> None:
    one = prepare(workload(folder, "utterances: list.csv, first: 1"))
    assert WAKE not in one.inputs
    program = compile_workload(workload(folder, "utterances: list.csv, first: 1")).program
    assert WAKE not in program.layers


def test_a_set_and_the_first_of_it(folder: Path) -> None:
    found = prepare(workload(folder, "utterances: list.csv, set: a, first: 7")).utterances
    assert [(each.name, each.text) for each in found] == [
        ("audio/0.wav", "up down"),
        ("audio/2.wav", "left"),
    ]


def test_calibration_begins_anew_with_each_utterance(folder: Path) -> None:
    """Largest activations are those of the utterances alone."""
    static = (
        f"calibration: {{SOURCE, {FEATURES}}}\n"
        "compression: {default: {activations: {bits: 8, scale: static}, codec: raw}}\n"
    )
    model = MODEL[: MODEL.index("compression")]
    scales = []
    for source in ("utterances: list.csv", *(f"audio: audio/{n}.wav" for n in range(3))):
        path = folder / "c.yaml"
        given = f"input: {{audio: audio/0.wav, {FEATURES}}}\n"
        path.write_text(model + given + static.replace("SOURCE", source))
        weights = prepare(load_workload(path)).compressed.weights
        scales.append({name: one.activation_scale for name, one in weights.items()})
    together, *alone = scales
    for name, scale in together.items():
        assert scale == max(one[name] for one in alone), name


def test_a_change_of_what_is_listed_is_another_input(folder: Path) -> None:
    chip = load_hardware("az1")
    keys = []
    for text in ("up", "down"):
        write_list(folder, SECONDS, (text, "", "left"))
        given = workload(folder, "utterances: list.csv", "transcript: {units: units.txt}\n")
        keys.append(StageKeys(given, chip, chip).run)
    assert keys[0] != keys[1]


def test_frames_of_filled_chunks() -> None:
    flags = Chunks(7, 4, (5, 2)).is_frame()
    assert flags.astype(int).tolist() == [1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 0, 0]
    assert wakes((2, 1, 3)).reshape(-1).tolist() == [0, 1, 1, 0, 0, 0]


# ------------------------------------------------------------------------------- what is refused


def sentence(folder: Path, source: str, rest: str = "") -> list[str]:
    with pytest.raises(AzsimError) as caught:
        run(workload(folder, source, rest))
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_all_lines_of_a_list_that_are_wrong(folder: Path) -> None:
    path = folder / "list.csv"
    path.write_text("file,text\naudio/0.wav,up\naudio/8.wav,up\naudio/1.wav\naudio/9.wav,down\n")
    with pytest.raises(InputError) as caught:
        read_utterances(path)
    assert str(caught.value) == f"{path}:4: found 1 fields, the header has 2"
    path.write_text("file,text\naudio/0.wav,up\naudio/8.wav,up\naudio/9.wav,down\n")
    with pytest.raises(InputError) as caught:
        read_utterances(path)
    assert str(caught.value).splitlines() == [
        f"{path}:3: no such file, found 'audio/8.wav'",
        f"{path}:4: no such file, found 'audio/9.wav'",
    ]
    assert [each.text for each in read_utterances(path, first=1)] == ["up"]


@pytest.mark.parametrize(
    ("text", "set_name", "wanted"),
    [
        ("", None, ": no lines, a header is needed"),
        ("file,text\n", None, ": no recordings"),
        ("name,text\na,b\n", None, ": no column 'file', found: name, text, needed: file, text"),
        (
            "file,text\na,b\n",
            "x",
            ": no column 'set', found: file, text, needed: file, text, set",
        ),
        (
            "file,text,set\na,b,u\na,b,v\n",
            "x",
            ": no recording of such a set, found 'x', allowed: u, v",
        ),
        ("file,text,text\na,b,c\n", None, ":1: column 'text' is there twice"),
    ],
)
def test_lists_that_are_none(tmp_path: Path, text: str, set_name: str | None, wanted: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_utterances(path, set_name)
    assert str(caught.value) == f"{path}{wanted}"


def test_all_recordings_that_are_wrong(folder: Path) -> None:
    (folder / "audio/0.wav").write_bytes(b"RIFF")
    (folder / "audio/2.wav").write_bytes(b"")
    found = sentence(folder, "utterances: list.csv")
    assert len(found) == 2
    assert "audio/0.wav: not a PCM WAV file" in found[0]
    assert "audio/2.wav: not a PCM WAV file" in found[1]


def test_recordings_that_may_not_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root may read everything, permission is refused by hand."""
    read = Path.read_bytes

    def refused(path: Path) -> bytes:
        if path.name in ("0.wav", "2.wav"):
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refused)
    found = sentence(folder, "utterances: list.csv")
    assert [line.partition("audio/")[2] for line in found] == [
        "0.wav: cannot be read: Permission denied",
        "2.wav: cannot be read: Permission denied",
    ]


def test_keys_that_exclude_each_other(folder: Path) -> None:
    found = sentence(
        folder,
        'utterances: "pypi:a==1#b.csv"',
        "decisions: {d: {output: encoded}}\nexpect: {word_error_rate: {max: 0.1}}\n",
    )
    assert [line.partition(": ")[2] for line in found] == [
        (
            "$.input.utterances: not a path beside the workload, found 'pypi:a==1#b.csv', "
            "allowed: a .csv file"
        ),
        (
            "$.decisions: decisions are taken in one recording, found several; "
            "allowed: 'audio' with one of them, or 'transcript'"
        ),
        "$.expect.word_error_rate: no words are heard, found no section 'transcript'",
    ]


def test_a_text_that_nothing_is_compared_with(folder: Path) -> None:
    (line,) = sentence(folder, "audio: audio/0.wav, text: up")
    assert line.endswith(
        "$.input.text: nothing is compared with what is said, "
        "found a text and no section 'transcript': 'up'"
    )
