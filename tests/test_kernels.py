"""Programs written by hand: the worked examples, and runs from text and arrays."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from azsim import pipeline, run, run_kernel
from azsim.cli import main
from azsim.codecs import encode_block
from azsim.errors import AssemblyError, AzsimError, InputError, MachineError
from azsim.hardware import load_hardware
from azsim.inputs.tensors import read_npz
from azsim.isa.encode import canonical
from azsim.isa.program import Instruction
from azsim.isa.program_file import load_program, save_program
from azsim.report.files import npz_bytes
from azsim.sim.execute import execute
from azsim.sim.races import check_races
from azsim.stages.kernel import load_kernel
from kernels import DATA, EXAMPLES, STATEMENTS, sparse_codes

F = np.float32

Save = Callable[[str], Path]


@pytest.fixture
def save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Save:
    """Writes a text to k.azs in a folder of its own, which becomes the current one."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Path:
        path = Path("k.azs")
        path.write_text(text)
        return path

    return write


def error_of(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main([str(word) for word in words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err.removeprefix("azsim: error: ").rstrip("\n")


# ------------------------------------------------------------------------------ the examples


def test_every_example_has_data_and_a_statement() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.azs")}
    assert names == set(DATA) == set(STATEMENTS) == {path.stem for path in EXAMPLES.glob("*.npz")}


@pytest.mark.parametrize("name", DATA)
def test_the_data_of_the_examples_is_what_its_seed_gives(name: str, update_golden: bool) -> None:
    path = EXAMPLES / f"{name}.npz"
    wanted: dict[str, Any] = dict(DATA[name]())
    if update_golden:
        np.savez_compressed(path, **wanted)
    stored = read_npz(path)
    assert list(stored) == list(wanted)
    for key, array in wanted.items():
        assert stored[key].dtype == array.dtype
        assert np.array_equal(stored[key], array), key


@pytest.mark.parametrize("chip", ["az1", "az1_lite", "az2"])
@pytest.mark.parametrize("name", DATA)
def test_an_example_gives_what_numpy_says(name: str, chip: str) -> None:
    result = run_kernel(EXAMPLES / f"{name}.azs", EXAMPLES / f"{name}.npz", chip)
    wanted = STATEMENTS[name](DATA[name]())
    assert list(result.outputs) == list(wanted)
    for key, array in wanted.items():
        assert result.outputs[key].dtype == array.dtype
        assert result.outputs[key].tobytes() == array.tobytes(), key
    assert result.races == ()
    assert result.notes == ()
    busy = result.statistics.engine_busy_cycles
    assert 0 < max(busy.values()) <= result.statistics.cycles


@pytest.mark.parametrize("seed", range(100, 104))
@pytest.mark.parametrize("name", DATA)
def test_an_example_is_right_for_other_data(name: str, seed: int) -> None:
    data = DATA[name](seed)
    outputs = run_kernel(EXAMPLES / f"{name}.azs", data, timeline=False).outputs
    for key, array in STATEMENTS[name](data).items():
        assert outputs[key].tobytes() == array.tobytes(), key


def test_the_greedy_loop_is_left_when_the_data_says() -> None:
    data = DATA["greedy"]()
    early = STATEMENTS["greedy"](data)
    assert early["count"] == 9
    assert early["tokens"][0, 8:10].tolist() == [0, -1]
    full = DATA["greedy"](3)
    assert STATEMENTS["greedy"](full)["count"] == 20
    short, long = (
        run_kernel(EXAMPLES / "greedy.azs", arrays).executed_instructions for arrays in (data, full)
    )
    assert long - short == 11 * 15 + 1  # rounds of 15 words; the branch out skips the last one


@pytest.mark.parametrize("name", DATA)
def test_every_wait_of_an_example_is_needed(name: str) -> None:
    """Dropped, or one instruction looser, it leaves a race; nothing waits longer than it has to."""
    chip = load_hardware("az1")
    kernel = load_kernel(EXAMPLES / f"{name}.azs", DATA[name](), "the data", chip)
    instructions = kernel.program.instructions
    waits = [
        (index, operand, int(value))
        for index, entry in enumerate(instructions)
        for operand, value in entry.operands.items()
        if operand.startswith("wait_")
    ]
    assert len(waits) >= 5
    for index, operand, value in waits:
        for looser in (0, value + 1):
            mutated = list(instructions)
            operands = {**instructions[index].operands, operand: looser}
            mutated[index] = canonical(Instruction(instructions[index].mnemonic, operands))
            program = replace(kernel.program, instructions=tuple(mutated))
            found = check_races(program, execute(program, kernel.image, chip).trace)
            assert found, f"{kernel.places[index]}: {operand}={looser}"


def test_blocks_are_smaller_than_their_codes_and_zeros_are_skipped() -> None:
    result = run_kernel(EXAMPLES / "sparse_matvec.azs", DATA["sparse_matvec"]())
    stats = result.statistics
    codes = [DATA["sparse_matvec"]()[f"w{n}"] for n in range(4)]
    assert stats.macs == 256 * 192
    assert stats.macs_executed == sum(int((block != 0).sum()) for block in codes)
    for block, array in zip(result.blocks, codes, strict=True):
        assert block.zeros == int((array == 0).sum())
        assert block.encoded_bytes == len(encode_block("bitmap", array, 4, columns=192))
        assert 2 * block.encoded_bytes < array.size * 4 // 8
    blocks = sum(-(-block.encoded_bytes // 64) * 64 for block in result.blocks)
    assert stats.dram_read_bytes == blocks + 4 * 192 + 4 * 256


def test_both_timing_models_run_an_example() -> None:
    result = run_kernel(EXAMPLES / "greedy.azs", DATA["greedy"](), exact_timing=True)
    assert result.fast_cycles is not None
    assert abs(result.fast_cycles - result.statistics.cycles) <= 0.02 * result.statistics.cycles
    assert result.summary["timing_model"] == "cycle-stepped"


# ------------------------------------------------------------------------------------- arrays

ADD = """\
.input x shape=1x4
.input k dtype=i8 shape=1x4
.weight w codec=bitmap bits=3 shape=4x4
.output y dtype=i8 shape=1x4
.buffer here space=activation like=k
.buffer w_here space=weight dtype=i4 shape=4x4
view view=k addr=k
view view=here addr=here
view view=w addr=w
view view=w_here addr=w_here
view view=y addr=y
weight_load dst=w_here src=w
load dst=here src=k
store wait_load=1 dst=y src=here
halt
"""
GOOD = {
    "x": np.zeros((1, 4), F),
    "k": np.array([[1, -2, 3, -128]], np.int64),
    "w": np.eye(4, dtype=np.int32) * 3,
}


def test_integers_of_any_width_are_taken_if_they_fit(save: Save) -> None:
    result = run_kernel(save(ADD), GOOD)
    assert result.outputs["y"].dtype == np.int8
    assert result.outputs["y"].tolist() == [[1, -2, 3, -128]]


def test_everything_wrong_with_the_data_is_told_at_once(save: Save) -> None:
    bad = {
        "xx": np.zeros((1, 4), F),
        "k": np.array([[1, 2, 3, 200]]),
        "w": np.eye(5, dtype=np.int8) * -4,
    }
    with pytest.raises(InputError) as caught:
        run_kernel(save(ADD), bad)
    missing = "the data has no array of this name, found xx, k, w; did you mean 'xx'?"
    assert str(caught.value).split("\n") == [
        f"k.azs:1:8: .input x: {missing}",
        "k.azs:2:8: .input k: got 200 at (0, 3), allowed for i8 is -128 to 127",
        "k.azs:3:9: .weight w: got shape 5x5, expected 4x4",
        "k.azs:3:9: .weight w: got -4 at (0, 0), allowed for 3-bit codes is -3 to 3",
    ]
    other = {"x": np.zeros(4), "k": np.zeros((1, 4), F), "w": np.eye(4)}
    with pytest.raises(InputError) as caught:
        run_kernel(save(ADD), other)
    assert str(caught.value).split("\n") == [
        "k.azs:1:8: .input x: got float64, expected float32",
        "k.azs:1:8: .input x: got shape 4, expected 1x4",
        "k.azs:2:8: .input k: got float32, expected integers (i8)",
        "k.azs:3:9: .weight w: got float64, expected integers (3-bit codes)",
    ]


def test_views_that_their_data_does_not_allow_are_told_with_the_data(
    save: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(ADD.replace("addr=here\n", "addr=here space=dram\n"))
    sentence = "k.azs:8:21: view: 'here' lies in activation, not in dram"
    with pytest.raises(AssemblyError) as caught:
        run_kernel(path, GOOD)
    assert str(caught.value) == sentence
    assert error_of(capsys, "inspect", path) == sentence
    with pytest.raises(InputError) as problems:
        run_kernel(path, {**GOOD, "x": np.zeros((4, 1), F)})
    assert str(problems.value).split("\n") == [
        "k.azs:1:8: .input x: got shape 4x1, expected 1x4",
        sentence,
    ]


def test_what_does_not_suit_the_chip_is_told_at_once(save: Save) -> None:
    text = ADD + ".buffer large space=weight shape=400x400\n"
    with pytest.raises(InputError) as caught:
        run_kernel(save(text), GOOD, "dense_npu")
    assert str(caught.value).split("\n") == [
        "k.azs:3:9: .weight w: dense_npu does not decode 'bitmap', allowed are raw",
        "k.azs:16:9: .buffer large: ends at byte 640064 of weight SRAM, dense_npu has 524288",
    ]
    with pytest.raises(InputError, match="dense_npu does not decode 'raw'"):
        run_kernel(save(ADD.replace("bitmap bits=3", "raw palette=1 bits=3")), GOOD, "dense_npu")


def test_without_data_one_sentence_says_what_is_needed(
    save: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    needs = "k.azs: needs --data FILE.npz with x (f32 1x4), k (i8 1x4), w (3-bit codes 4x4)"
    path = save(ADD)
    assert error_of(capsys, "run", path) == needs
    assert error_of(capsys, "asm", path, "-o", "p.npz") == needs
    with pytest.raises(InputError, match="needs --data"):
        run_kernel(path)


def test_frames_are_the_first_axis(save: Save) -> None:
    path = save(
        ".input x shape=2 frames=3\n.output y shape=2 frames=3\n"
        ".buffer a space=activation shape=3x2\n"
        "view view=x addr=x rows=3\nview view=a addr=a\nview view=y addr=y rows=3\n"
        "load dst=a src=x\nstore wait_load=1 dst=y src=a\nhalt"
    )
    x = np.arange(6, dtype=F).reshape(3, 2)
    assert (run_kernel(path, {"x": x}).outputs["y"] == x).all()
    with pytest.raises(InputError, match=r"^k.azs:1:8: .input x: got shape 6, expected 3x2$"):
        run_kernel(path, {"x": x.reshape(-1)})


def test_frames_may_have_room_between_them(save: Save) -> None:
    """Two results in turns, each 8 bytes, the second one behind the first."""
    path = save(
        ".input x shape=2 frames=3 step=12\n"
        ".output y addr=0x100 shape=2 frames=3 step=16\n"
        ".output z addr=0x108 shape=2 frames=3 step=16\n"
        ".buffer a space=activation shape=3x2\n"
        "view view=x addr=x rows=3 row_stride=3\nview view=a addr=a\n"
        "view view=y space=dram dtype=f32 addr=0x100 rows=3 cols=2 row_stride=4 col_stride=1\n"
        "view view=z space=dram dtype=f32 addr=0x108 rows=3 cols=2 row_stride=4 col_stride=1\n"
        "load dst=a src=x\nstore wait_load=1 dst=y src=a\n"
        "vector_unary wait_load=1 wait_store=1 dst=a src=a function=neg\n"
        "store wait_vector=1 dst=z src=a\nhalt"
    )
    x = np.arange(6, dtype=F).reshape(3, 2)
    found = run_kernel(path, {"x": x}).outputs
    assert (found["y"] == x).all()
    assert (found["z"] == -x).all()


@pytest.mark.parametrize("step", ["0x40", "0x8000000000000000000"])
def test_a_single_frame_may_be_any_step_apart(save: Save, step: str) -> None:
    path = save(
        f".input x shape=2 step={step}\n.output y shape=2\n.buffer a space=activation shape=2\n"
        ".views\nload dst=a src=x\nstore wait_load=1 dst=y src=a\nhalt"
    )
    x = np.array([3, 4], F)
    assert run_kernel(path, {"x": x}).outputs["y"].tolist() == [3, 4]


def test_a_program_file_whose_frames_overlap_is_refused(save: Save) -> None:
    Path("d.npz").write_bytes(npz_bytes(GOOD))
    assert main(["asm", str(save(ADD)), "--data", "d.npz", "-o", "p.npz"]) == 0
    program, image = load_program(Path("p.npz"))
    (port,) = program.outputs
    wrong = replace(port, frames=2, step_bytes=3)
    save_program(Path("p.npz"), replace(program, outputs=(wrong,)), image)
    with pytest.raises(InputError) as caught:
        run_kernel("p.npz")
    assert str(caught.value) == "p.npz: output y: frames are 3 bytes apart, each has 4"


def test_a_program_file_whose_axes_are_none_is_refused(save: Save) -> None:
    Path("d.npz").write_bytes(npz_bytes(GOOD))
    assert main(["asm", str(save(ADD)), "--data", "d.npz", "-o", "p.npz"]) == 0
    program, image = load_program(Path("p.npz"))
    (port,) = program.outputs
    save_program(Path("p.npz"), replace(program, outputs=(replace(port, axes=(1,)),)), image)
    with pytest.raises(InputError) as caught:
        run_kernel("p.npz")
    assert str(caught.value) == "p.npz: output y: axes: got 1, allowed is 0x1, in any order"


def test_axes_of_a_port_may_lie_in_another_order(save: Save) -> None:
    path = save(
        ".input x shape=2x3 axes=1x0\n.output y shape=3x2\n.buffer a space=activation shape=3x2\n"
        ".views\nload dst=a src=x\nstore wait_load=1 dst=y src=a\nhalt"
    )
    x = np.arange(6, dtype=F).reshape(2, 3)
    assert np.array_equal(run_kernel(path, {"x": x}).outputs["y"], x.T)


def test_a_chip_that_decodes_at_read_takes_blocks_as_they_are(save: Save) -> None:
    path = save(
        ".input x dtype=i8 shape=1x24\n.input one shape=1x1\n.input ones shape=1x16\n"
        ".weight w codec=csc bits=4 shape=16x24\n.output y shape=1x16\n"
        ".buffer block space=weight like=w\n.buffer x_here space=activation like=x\n"
        ".buffer one_here space=activation like=one\n.buffer ones_here space=activation like=ones\n"
        ".buffer y_here space=activation like=y\n"
        + "".join(
            f"view view={n} addr={n}\n"
            for n in (
                "x",
                "one",
                "ones",
                "w",
                "y",
                "block",
                "x_here",
                "one_here",
                "ones_here",
                "y_here",
            )
        )
        + "weight_load dst=block src=w\nload dst=x_here src=x\nload dst=one_here src=one\n"
        "load dst=ones_here src=ones\nmac_matmul wait_weight=1 wait_load=1 src=x_here src2=block\n"
        "mac_drain dst=y_here src=one_here scale=ones_here\nstore wait_mac=1 dst=y src=y_here\nhalt"
    )
    rng = np.random.default_rng(0)
    data = {
        "x": rng.integers(-127, 128, (1, 24)).astype(np.int8),
        "one": np.ones((1, 1), F),
        "ones": np.ones((1, 16), F),
        "w": sparse_codes(rng, 16, 24, 4, 0.6),
    }
    result = run_kernel(path, data, "eie")
    assert (result.outputs["y"] == data["x"].astype(int) @ data["w"].astype(int).T).all()


def test_what_the_machine_forbids_is_told_with_its_place(save: Save) -> None:
    path = save(
        ADD.replace(
            "store wait_load=1 dst=y src=here", "  view_step view=y step=4\nstore dst=y src=here"
        )
    )
    with pytest.raises(MachineError) as caught:
        run_kernel(path, GOOD)
    assert str(caught.value) == (
        "k.azs:15:1: instruction 8: view v4 reaches dram bytes [0x84, 0x88), "
        "outside its region 'y' [0x80, 0x84)"
    )


def test_a_race_fails_the_run_and_is_told_with_its_place(
    save: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(ADD.replace("store wait_load=1", "store"))
    Path("d.npz").write_bytes(npz_bytes(GOOD))
    assert main(["run", str(path), "--data", "d.npz", "-o", "out", "--json"]) == 1
    printed = capsys.readouterr()
    sentence = (
        "k.azs:14:1: instruction 7 (store) reads activation bytes [0x0, 0x4) of region 'here' that "
        "instruction 6 (load) writes, and no wait orders the two"
    )
    assert printed.err == f"azsim: check failed: {sentence}\n"
    assert json.loads(printed.out)["races"] == [sentence]


# ---------------------------------------------------------------------------- the command line


def test_the_command_prints_and_writes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    example = EXAMPLES / "greedy.azs"
    words = ["run", str(example), "--data", str(EXAMPLES / "greedy.npz"), "-o", "out"]
    assert main([*words, "--hardware", "az2", "--set", "hardware.clock_hz=1000000000"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("greedy on az2 at 1 GHz\n")
    assert "\nEngines\n" in shown
    assert "\nBlocks\n" in shown
    assert "20 34 26 30 3 19 25 28 ..." in shown
    assert shown.endswith("\nWritten to out\n")
    assert {path.name for path in Path("out").iterdir()} - {"report.html"} == {
        "run.json", "summary.json", "outputs.npz", "trace.json",
    }  # fmt: skip
    with np.load("out/outputs.npz") as outputs:
        assert outputs["count"].dtype == np.int32
        assert outputs["count"].tolist() == [[9]]
    trace = json.loads(Path("out/trace.json").read_text())
    names = {event["name"] for event in trace["traceEvents"]}
    assert {"mac_matmul", "vector_arg", "weight_load"} <= names
    assert main([*words, "--json"]) == 0  # an earlier run's folder is replaced
    summary = json.loads(capsys.readouterr().out)
    assert summary == json.loads(Path("out/summary.json").read_text())
    assert summary["program"] == "greedy"
    assert summary["hardware"] == "az1"
    assert summary["outputs"]["tokens"]["dtype"] == "int32"
    assert {"busy", "layers", "cycles"} & summary.keys() == {"layers", "cycles"}


def test_a_program_file_runs_too(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(ADD)
    Path("d.npz").write_bytes(npz_bytes({**GOOD, "spare": np.zeros(1, F)}))
    assert main(["asm", str(path), "--data", "d.npz", "-o", "p.npz"]) == 0
    assert capsys.readouterr().out == "Written to p.npz\n"
    from_text = run_kernel(path, "d.npz")
    assert from_text.notes == ("d.npz also holds spare, which the program does not declare",)
    as_it_is = run_kernel("p.npz")
    assert as_it_is.notes == ("the program file's image has what x, k hold",)
    assert as_it_is.outputs["y"].tolist() == from_text.outputs["y"].tolist()
    assert as_it_is.statistics == from_text.statistics
    other = {"x": GOOD["x"], "k": np.array([[5, 6, 7, 8]])}
    assert run_kernel("p.npz", other).outputs["y"].tolist() == [[5, 6, 7, 8]]
    part = run_kernel("p.npz", {"k": other["k"], "kk": other["k"]})
    assert part.outputs["y"].tolist() == [[5, 6, 7, 8]]
    assert part.notes == (
        "the data also holds kk, which the program does not declare",
        "the program file's image has what x hold",
    )
    with pytest.raises(InputError) as caught:
        run_kernel("p.npz", {"kk": other["k"]})
    assert str(caught.value) == "the data: holds kk; the program's inputs are x, k"
    with pytest.raises(InputError) as caught:
        run_kernel("p.npz", {"k": np.zeros((1, 5), int), "x": np.zeros((1, 4))})
    assert str(caught.value).split("\n") == [
        "p.npz: input k: got shape 1x5, expected 1x4",
        "p.npz: input x: got float64, expected float32",
    ]
    Path("short.azs").write_text("halt\n")
    assert main(["asm", "short.azs", "-o", "short.npz"]) == 0
    assert main(["disasm", "p.npz", "-o", "p.azs"]) == 0
    assert main(["asm", "p.azs", "--dram", "short.npz", "-o", "p.npz"]) == 0
    with pytest.raises(InputError) as caught:
        run_kernel("p.npz")
    assert str(caught.value).split("\n") == [
        "p.npz: input x: lies at bytes 0 to 16 of DRAM, the image has 0",
        "p.npz: input k: lies at bytes 64 to 68 of DRAM, the image has 0",
        "p.npz: output y: lies at bytes 128 to 132 of DRAM, the image has 0",
    ]


def test_text_without_data_makes_a_program_of_zeros_and_says_so(
    save: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(".output y shape=4\nhalt\n")
    assert main(["asm", str(path), "-o", "p.npz"]) == 0
    assert capsys.readouterr().out == (
        "Written to p.npz; its DRAM image is 16 zeros; --data or --dram fills it\n"
    )


def test_options_that_do_not_go_together(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    path = save("halt\n")
    assert error_of(capsys, "run", path, "--verify") == (
        "--verify: compares a workload with its reference; a program has none"
    )
    assert error_of(capsys, "run", path, "--explain") == (
        "--explain: explains what the compiler chose; a program is taken as it is"
    )
    assert error_of(capsys, "run", path, "--replan") == (
        "--replan: lets the compiler plan anew; a program is taken as it is"
    )
    arrays = "arrays are for programs (.azs, .npz); a workload's file names its input"
    assert error_of(capsys, "run", "vad_silero", "--data", "d.npz") == f"--data d.npz: {arrays}"
    assert error_of(capsys, "asm", "vad_silero", "--data", "d.npz", "-o", "p.npz") == (
        f"--data d.npz: {arrays}"
    )
    assert error_of(capsys, "asm", path, "--data", "d.npz", "--dram", "p.npz", "-o", "q.npz") == (
        "--data and --dram: either makes the DRAM image; give one of them"
    )
    assert error_of(capsys, "run", path, "--data", "d.npz") == (
        "d.npz: cannot be read: No such file or directory"
    )
    assert error_of(capsys, "run", path, "--set", "workload.name=x") == (
        "--set workload.name=x: unknown start 'workload', allowed: hardware.PATH=VALUE"
    )


def test_the_list_names_the_examples(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(EXAMPLES.parent.parent)
    assert main(["list", "kernels", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == sorted(DATA)
    for row in rows:
        assert Path(row["file"]) == Path("isa", "examples", f"{row['name']}.azs")
        assert row["meaning"].endswith(".")


def test_a_stream_by_hand_is_paced(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(
        ".stream frames=3 period_s=0.001 paced=1\n.input x shape=8 frames=3\n"
        ".output y shape=8 frames=3\n.buffer a space=activation shape=8\n"
        "view view=x addr=x\nview view=a addr=a\nview view=y addr=y\n"
        "loop count=3\nload wait_store=1 dst=a src=x paced=1\n"
        "vector_unary wait_load=1 dst=a src=a function=neg\nstore wait_vector=1 dst=y src=a\n"
        "view_step view=x step=32\nview_step view=y step=32\nend_loop\nhalt\n"
    )
    x = np.arange(24, dtype=F).reshape(3, 8)
    result = run_kernel(path, {"x": x})
    assert (result.outputs["y"] == -x).all()
    assert result.races == ()
    assert result.summary["deadline_misses"] == 0
    assert result.statistics.latency_s > 0.003
    assert result.statistics.idle_cycles > 1_000_000
    Path("d.npz").write_bytes(npz_bytes({"x": x}))
    assert main(["run", "k.azs", "--data", "d.npz", "-o", "out"]) == 0
    shown = capsys.readouterr().out
    assert "\nframe latency   p50 " in shown
    assert "\ndeadline misses 0 frames " in shown


def test_a_workloads_program_file_runs_as_the_workload_does(save: Save) -> None:
    save("")
    Path("tiny.yaml").write_text(
        "name: tiny\nmodel:\n  graph:\n    inputs: {x: {shape: [1, 64]}}\n"
        "    initializers: {w: {shape: [64, 32], random: {seed: 0}}}\n"
        "    nodes: [{op: MatMul, inputs: [x, w], outputs: [y]}]\n    outputs: [y]\n"
        "input: {npz: x.npz}\n"
    )
    x = np.random.default_rng(0).standard_normal((1, 64)).astype(F)
    np.savez("x.npz", x=x)
    whole = run("tiny.yaml")
    assert main(["asm", "tiny.yaml", "-o", "p.npz"]) == 0
    by_file = run_kernel("p.npz", "x.npz")
    assert by_file.outputs["y"].tobytes() == whole.outputs["y"].tobytes()
    assert by_file.statistics == whole.statistics
    assert by_file.races == ()


def test_a_long_run_is_not_looked_at_for_races(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_MOST_CHECKED_INSTRUCTIONS", 10)
    result = run_kernel(save("\n".join(["scalar to=n"] * 10 + ["halt"])))
    assert result.races is None
    assert result.notes == (
        "races were not looked for in more than 10 executed instructions; azsim check does",
    )


def test_hardware_given_as_a_value() -> None:
    slow = replace(load_hardware("az1"), clock_hz=1_000_000)
    data = DATA["greedy"]()
    result = run_kernel(EXAMPLES / "greedy.azs", data, slow)
    assert result.clock_hz == 1_000_000
    with pytest.raises(AzsimError):
        run_kernel(EXAMPLES / "greedy.azs", data, "az9")
