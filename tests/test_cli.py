"""The command line: what it prints where, its exit codes, its error sentences."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import resource
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import azsim
from azsim import cli, pipeline, resources
from azsim.arguments import build_parser, study_names
from azsim.cli import main, study
from azsim.codecs import codec_names, codec_parameters
from azsim.compression.pruners import pruner_names
from azsim.compression.quantizers import quantizer_names
from azsim.folder import read_folder
from azsim.frontend.scheme_files import scheme_names
from azsim.frontend.workload import load_workload, workload_names
from azsim.hardware import load_hardware, preset_names
from azsim.isa.program_file import load_program
from azsim.isa.spec import instruction_set
from azsim.models import builder_names
from azsim.ops.build import operators
from azsim.report.catalog import CATALOGS
from azsim.report.units import frequency, rate
from azsim.sim.result import Comparison, RunResult
from azsim.sweeps.strategies import strategy_names
from azsim.sweeps.sweep_file import load_sweep, sweep_names

ROOT = Path(__file__).parent.parent
PRESETS = ", ".join(preset_names())
WORKLOADS = ", ".join(workload_names())
SMALL = """\
name: small
description: two products
model:
  graph:
    inputs: {x: {shape: [1, 16]}}
    initializers:
      w: {shape: [16, 8], random: {seed: 1, scale: 0.3}}
      v: {shape: [8, 4], random: {seed: 2, scale: 0.3}}
    nodes:
      - {op: MatMul, name: /first, inputs: [x, w], outputs: [/first/out]}
      - {op: Relu, name: /relu, inputs: [/first/out], outputs: [/relu/out]}
      - {op: MatMul, name: /second, inputs: [/relu/out, v], outputs: [/y]}
    outputs: [/y]
input: {random: {seed: 3}}
"""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The sentences of a command that fails with bad input and prints nothing else."""
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("azsim: error: ")
    assert captured.err.endswith("\n")
    return captured.err.removeprefix("azsim: error: ")[:-1]


# ------------------------------------------------------------------------------- start


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, azsim, azsim.cli\n"
        "azsim.cli.build_parser()\n"
        "heavy = {'numpy', 'numba', 'pydantic', 'yaml', 'onnx', 'rich', 'rich_argparse', 'shtab'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_help_is_quick() -> None:
    taken, printed = _times_a_start("-m", "azsim", "--help", enough=2)
    assert "inspect" in printed
    assert taken < 2


def _times_a_start(*arguments: str, enough: float) -> tuple[float, str]:
    """Processor time of Python with arguments over that of starting it with rich, and its output.

    The fastest of both in up to 20 rounds, as machines differ and other work may run beside.
    """
    start = taken = float("inf")
    printed = ""
    for number in range(20):
        start = min(start, _seconds("-c", "import argparse, inspect, rich.console, rich.table")[0])
        seconds, printed = _seconds(*arguments)
        taken = min(taken, seconds)
        if number >= 2 and taken < enough * start:
            break
    return taken / start, printed


def _seconds(*arguments: str) -> tuple[float, str]:
    """Processor time of Python with arguments, and its output."""
    begin = _children_seconds()
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return _children_seconds() - begin, done.stdout


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    (commands,) = (a for a in build_parser()._actions if a.dest == "command")
    assert commands.choices is not None
    assert set(commands.choices) == set(cli._COMMANDS)
    for name in commands.choices:
        assert main([name, "--help"]) == 0
        assert name in capsys.readouterr().out


def test_without_a_command_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    wanted = capsys.readouterr().out
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == wanted
    done = subprocess.run(
        [sys.executable, "-m", "azsim"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "inspect" in done.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("azsim ")


def test_public_names(small: Path) -> None:
    assert azsim.__all__ == [
        "KernelResult",
        "RunResult",
        "errors",
        "load_hardware",
        "load_workload",
        "run",
        "run_kernel",
        "sweep",
        "verify",
    ]
    assert set(azsim.__all__) <= set(dir(azsim))
    workload = azsim.load_workload(small)
    result = azsim.run(workload, azsim.load_hardware("az2"))
    assert isinstance(result, azsim.RunResult)
    assert azsim.verify(workload).bit_exact
    assert azsim.run(str(small), "az2").summary == result.summary
    assert azsim.verify(small).bit_exact
    with pytest.raises(azsim.errors.ConfigError, match="unknown workload 'nowhere'"):
        azsim.run("nowhere")
    assert issubclass(azsim.errors.ConfigError, azsim.errors.AzsimError)
    with pytest.raises(AttributeError, match="module 'azsim' has no attribute 'sweeep'"):
        _ = azsim.sweeep


# --------------------------------------------------------------------------- bad input


def test_bad_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert error_of(capsys, "run") == (
        "the following arguments are required: WORKLOAD; see azsim run --help"
    )
    commands = (
        "run, verify, compare, report, compile, inspect, codecs, export, list, asm, disasm, check, "
        "schema, sweep, sweep export, sweep report, corpus, study, train, completion"
    )
    assert error_of(capsys, "rnu") == (
        f"unknown command 'rnu', did you mean 'run'? allowed: {commands}"
    )
    assert error_of(capsys, "list", "codec") == (
        "unknown kind 'codec', did you mean 'codecs'? "
        "allowed: workloads, schemes, hardware, models, codecs, quantizers, pruners, operators, "
        "instructions, kernels, passes, studies, sweeps, strategies, recipes"
    )
    assert error_of(capsys, "run", "vad_silero", "--fast") == (
        "unrecognized arguments: --fast; see azsim --help"
    )
    studies = ", ".join(study_names()) or "none"
    assert error_of(capsys, "study", "q") == f"unknown study 'q', allowed: {studies}"


def test_unknown_names(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert error_of(capsys, "run", "vad_siler") == (
        f"unknown workload 'vad_siler', did you mean 'vad_silero'? allowed: {WORKLOADS}, "
        "or a .yaml file"
    )
    assert error_of(capsys, "run", "nowhere/w.yaml") == "nowhere/w.yaml: no such file"
    assert error_of(capsys, "verify", small, "--hardware", "az3") == (
        f"unknown hardware 'az3', did you mean 'az2'? allowed: {PRESETS}, or a .yaml file"
    )
    assert error_of(capsys, "run", small, "--hardware", "chip.yaml") == "chip.yaml: no such file"


def test_bad_overrides(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert error_of(capsys, "run", small, "--set", "hardwear.clock_hz=1") == (
        "--set hardwear.clock_hz=1: unknown start 'hardwear', did you mean 'hardware'? "
        "allowed: workload.PATH=VALUE or hardware.PATH=VALUE"
    )
    assert error_of(capsys, "run", small, "--set", "hardware.clock_hz") == (
        "--set hardware.clock_hz: not an override, allowed: PATH=VALUE"
    )
    bad = "workload.compression.default.prune.sparsity=1.5"
    assert error_of(capsys, "run", small, "--set", bad) == (
        f"--set {bad}: $.compression.default.prune.sparsity: out of range, found 1.5, "
        "allowed: a number from 0 to below 1"
    )


def test_workload_and_hardware_problems_come_at_once(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--hardware", "az9", "--set", "workload.nmae=x")
    lines = error_of(capsys, "run", small, *arguments).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("--set workload.nmae=x: $.nmae: unknown key")
    assert lines[1].startswith("unknown hardware 'az9'")


def test_wrong_overrides_of_both_files_come_at_once(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ("workload.nmae=x", "hardware.mac.lnaes=3", "hadrware.clock_hz=1", "workload.input=3")
    arguments = [word for text in texts for word in ("--set", text)]
    lines = error_of(capsys, "verify", small, *arguments).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "--set hadrware.clock_hz=1",
        "--set workload.input=3",
        "--set workload.nmae=x",
        "--set hardware.mac.lnaes=3",
    ]
    assert "did you mean 'lanes'?" in lines[3]
    # The chip is the one that the wrong workload names.
    chip = small.parent / "chip.yaml"
    chip.write_text("extends: az1\nclock_hz: 7\n")
    small.write_text(SMALL.replace("name: small", "nmae: small\nhardware: chip.yaml"))
    lines = error_of(capsys, "run", small).splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{small}:1:1", f"{chip}:2:11"]
    # A chip that is not there is said once.
    small.write_text(SMALL + "hardware: none.yaml\n")
    (line,) = error_of(capsys, "run", small, "--set", "hardware.mac.lanes=3").splitlines()
    assert "unknown hardware 'none.yaml'" in line


def test_wrong_model_files_are_named_at_their_place(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = small.parent / "m.onnx"
    text = "name: small\nmodel:\n  onnx: m.onnx\ninput: {random: {seed: 3}}\n"
    small.write_text(text)
    place = f"{small}:3:9: $.model.onnx: m.onnx: "
    model.write_text("no model")
    assert error_of(capsys, "run", small) == (
        f"{place}not an ONNX model: its 8 bytes are no protobuf message"
    )
    onnx = pytest.importorskip("onnx")
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 3]) for name in "xy"
    ]
    nodes = [
        onnx.helper.make_node("Celu", ["x"], ["a"], "first"),
        onnx.helper.make_node("Transpose", ["x"], ["b"], "second", perm=[1]),
        onnx.helper.make_node("Hardmax", ["b"], ["c"], "third"),
        onnx.helper.make_node("Sum", ["a", "c"], ["y"], "fourth"),
    ]
    graph = onnx.helper.make_graph(nodes, "g", values[:1], values[1:])
    model.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    for command in ("run", "verify", "codecs", "inspect"):
        lines = error_of(capsys, command, small).splitlines()
        assert len(lines) == 2
        assert lines[0].startswith(
            f"{place}3 nodes use operators that azsim does not support: Celu (first), "
            "Hardmax (third), Sum (fourth); supported: "
        )
        assert lines[1].startswith(f"{place[:-8]}m.onnx: node second (Transpose): ")


def test_what_does_not_fit_the_chip_is_named_at_the_model(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SMALL.replace("[1, 16]", "[1, 70000]").replace("[16, 8]", "[70000, 8]")
    small.write_text(text)
    assert error_of(capsys, "run", small, "--set", "hardware.activation_sram.bytes=1000000") == (
        f"{small}:4:3: $.model: tensor 'x' is used 1 x 70,000 elements at a time; "
        "the machine's views have at most 65,536 rows and 65,536 columns"
    )
    small.write_text(SMALL)
    (line,) = error_of(capsys, "run", small, "--set", "hardware.weight_sram.bytes=64").splitlines()
    assert line.startswith(f"{small}:4:3: $.model: weight SRAM of 64 bytes is too small")


def test_wrong_hashes_of_a_workload_come_at_once(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = small.parent
    (work / "m.onnx").write_bytes(b"model")
    (work / "x.npz").write_bytes(b"input")
    small.write_text(
        f"name: small\nmodel:\n  onnx: m.onnx\n  sha256: {'a' * 64}\n"
        f"input:\n  npz: x.npz\n  sha256: {'b' * 64}\n"
    )
    lines = error_of(capsys, "run", small).splitlines()
    wrong = [(3, "$.model.onnx", "m.onnx", "a"), (6, "$.input.npz", "x.npz", "b")]
    for line, (row, path, name, digit) in zip(lines, wrong, strict=True):
        digest = hashlib.sha256((work / name).read_bytes()).hexdigest()
        assert line.startswith(f"{small}:{row}:")
        assert line.endswith(
            f"{path}: {work / name}: wrong sha256, found {digest}, allowed: {digit * 64}"
        )


def test_unwritable_output_comes_before_the_work(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the long work has started")

    for name in ("run", "export_arrays", "compile_workload"):
        monkeypatch.setattr(pipeline, name, never)
    below = small / "runs" / "small"
    sentence = f"{below}: cannot be written, {small} is not a folder"
    assert error_of(capsys, "run", small, "-o", below) == sentence
    assert error_of(capsys, "verify", small, "-o", below) == sentence
    work = small.parent
    assert error_of(capsys, "run", small, "-o", work) == (
        f"{work}: will not be replaced, it has no run.json of azsim; choose another folder"
    )
    there = work / "no" / "w.npz"
    missing = f"{there}: cannot be written, there is no folder {there.parent}"
    assert error_of(capsys, "export", small, "-o", there) == missing
    assert error_of(capsys, "asm", small, "-o", there) == missing
    assert error_of(capsys, "disasm", small, "-o", there) == missing
    assert error_of(capsys, "export", small, "-o", "w.txt") == (
        "w.txt: unknown kind of file '.txt', allowed: .npz, .onnx"
    )
    for name, suffix in (("p.azp", ".azp"), ("program", "")):
        sentence = f"{name}: unknown kind of file {suffix!r}, allowed: .npz"
        assert error_of(capsys, "asm", small, "-o", name) == sentence


def test_bad_files(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = small.parent
    onnx, npz, text = work / "m.onnx", work / "p.npz", work / "p.azs"
    assert error_of(capsys, "inspect", onnx) == f"{onnx}: cannot be read: No such file or directory"
    onnx.write_text("no model")
    assert error_of(capsys, "inspect", onnx) == (
        f"{onnx}: not an ONNX model: its 8 bytes are no protobuf message"
    )
    assert error_of(capsys, "inspect", onnx, "--shape", "x=a") == (
        "--shape x=a: not a shape, allowed: INPUT=1x576"
    )
    assert error_of(capsys, "disasm", npz) == f"{npz}: cannot be read, No such file or directory"
    npz.write_text("no program")
    assert error_of(capsys, "inspect", npz) == f"{npz}: is not a program file, or is damaged"
    assert error_of(capsys, "asm", text, "-o", npz) == (
        f"{text}: cannot be read, No such file or directory"
    )
    text.write_bytes(b"\xff\xfe")
    assert error_of(capsys, "inspect", text) == f"{text}: is not text in UTF-8"
    text.write_text("halt\nload dst=w\nwait\n")
    lines = error_of(capsys, "asm", text, "-o", npz).splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{text}:2:10", f"{text}:3:1"]
    text.write_text(
        ".region big space=dram start=0x0 size=0x200000000 dtype=u8 first=0 last=0\nhalt\n"
    )
    assert error_of(capsys, "asm", text, "-o", npz) == (
        "p: DRAM too large, found 8589934592 bytes, allowed: 4294967296"
    )
    assert npz.read_text() == "no program"


def test_an_inline_model_is_not_exported_as_onnx(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert error_of(capsys, "export", small, "-o", "w.onnx") == (
        f"{small}: the model is written inline; export it to .npz instead"
    )
    assert not Path("w.onnx").exists()


def test_interrupt_and_bugs(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def bug(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(pipeline, "run", interrupted)
    assert main(["verify", str(small)]) == 130
    monkeypatch.setattr(pipeline, "run", bug)
    with pytest.raises(ZeroDivisionError):  # anything else is a bug, and shows its traceback
        main(["verify", str(small)])


@pytest.mark.slow
def test_a_broken_pipe_is_quiet() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "azsim", "schema", "workload"],
        cwd=ROOT,
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == 141


# -------------------------------------------------------------------------------- runs


def test_run_writes_and_prints(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(small), "-o", "out"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.startswith("small on az1 at 500 MHz\n")
    assert captured.out.endswith("\nWritten to out\n")
    for title in ("Layers", "Engines", "Weights", "SRAM map"):
        assert f"\n{title}\n" in captured.out
    assert "\x1b" not in captured.out
    names = {"layers.csv", "outputs.npz", "run.json", "summary.json", "trace.json"}
    assert {path.name for path in Path("out").iterdir()} - {"report.html"} == names
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["bit_exact"] is None
    assert summary["cycles"] == sum(entry["cycles"] for entry in summary["layers"])
    with np.load("out/outputs.npz") as outputs:
        assert outputs.files == ["/y"]
        assert outputs["/y"].shape == (1, 4)


def test_json_is_all_that_is_printed(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", str(small), "-o", "out", "--json", "--verify", "--hardware", "dense_npu"]
    assert main([*arguments, "--set", "hardware.clock_hz=250000000"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    summary = json.loads(captured.out)
    assert summary == json.loads(Path("out/summary.json").read_text())
    assert summary["bit_exact"] is True
    assert summary["hardware"] == "dense_npu"
    run = json.loads(Path("out/run.json").read_text())
    assert run["clock_hz"] == 250_000_000
    assert run["comparison"]["bit_exact"] is True


def test_overrides_of_the_workload_count(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = []
    for bits in (8, 4):
        key = f"workload.compression.default.weights.bits={bits}"
        assert main(["run", str(small), "-o", "out", "--json", "--set", key]) == 0
        weights.append(json.loads(capsys.readouterr().out)["weight_bytes_dense"])
    assert weights == [160, 80]


def test_output_goes_to_a_folder_called_like_the_workload(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "working_checkout", lambda: None)
    assert main(["run", str(small)]) == 0
    assert capsys.readouterr().out.endswith("\nWritten to azsim-runs/small\n")
    assert Path("azsim-runs/small/summary.json").is_file()
    monkeypatch.setattr(resources, "working_checkout", lambda: small.parent / "tree")
    assert main(["run", str(small)]) == 0
    assert (small.parent / "tree/reports/runs/small/summary.json").is_file()


def test_verify_says_what_was_compared(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(small)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.startswith("small on az1\n\nCompared as stored bytes, ")
    assert "/relu/out" in captured.out
    assert "\n  /first/out: /relu is applied as /first is drained\n" in captured.out
    assert captured.out.endswith("bit exact: yes\n")
    assert [path.name for path in small.parent.iterdir()] == ["small.yaml"]
    assert main(["verify", str(small), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["bit_exact"] is True
    assert "/y" in document["comparison"]["compared"]


def test_a_difference_exits_with_1(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = pipeline.run
    sentence = "output '/y' differs in 1 of 4 values"

    def differing(*arguments: object, **options: object) -> RunResult:
        result = honest(*arguments, **options)  # pyright: ignore[reportArgumentType]
        return dataclasses.replace(result, comparison=Comparison(False, ("/y",), {}, sentence))

    monkeypatch.setattr(pipeline, "run", differing)
    assert main(["verify", str(small)]) == 1
    captured = capsys.readouterr()
    assert captured.out.endswith(f"bit exact: no; {sentence}\n")
    assert captured.err == f"azsim: check failed: not bit exact: {sentence}\n"
    assert main(["run", str(small), "--verify", "-o", "out", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["bit_exact"] is False


def test_broken_budgets_exit_with_1(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small.write_text(SMALL + "expect: {cycles: {max: 1}, dram_read_bytes: {min: 1}}\n")
    assert main(["run", str(small), "-o", "out", "--json"]) == 1
    captured = capsys.readouterr()
    cycles = json.loads(captured.out)["cycles"]
    assert captured.err == (
        f"azsim: check failed: expect: cycles is {cycles:,}, expected at most 1.0\n"
    )
    assert Path("out/summary.json").is_file()


# -------------------------------------------------------------------- the other commands


def test_inspect_a_workload(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(small)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"\n/first +MatMul +float32\[1, 8\] +128\n", shown)
    assert "3 nodes, 160 parameters" in shown
    assert main(["inspect", str(small), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["operator"] for row in document["nodes"]] == ["MatMul", "Relu", "MatMul"]
    assert document["compression"][0]["tensor"] == "w"
    assert document["unsupported"] is None


def test_inspect_an_onnx_file(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    kind = onnx.TensorProto.FLOAT
    ports = [helper.make_tensor_value_info(name, kind, ["time", 4]) for name in ("x", "y")]
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="/relu"),
        helper.make_node("Softsign", ["r"], ["y"], name="/odd"),
    ]
    for count in (1, 2):
        ports[1].name = ["r", "y"][count - 1]
        graph = helper.make_graph(nodes[:count], "g", ports[:1], ports[1:])
        onnx.save(helper.make_model(graph), "m.onnx")
        assert main(["inspect", "m.onnx"]) == 0
        shown = capsys.readouterr().out
        assert "x    [time, 4]\n" in shown
        assert ("float32[1, 4]" in shown) == (count == 1)
    assert "Softsign     1 no: /odd\n" in shown
    assert (
        "\nNot supported: m.onnx: 1 node uses an operator that azsim does not support: "
        "Softsign (/odd); supported: Abs, "
    ) in shown
    assert main(["inspect", "m.onnx", "--json"]) == 0
    assert "Softsign (/odd)" in json.loads(capsys.readouterr().out)["unsupported"]
    assert error_of(capsys, "inspect", "m.onnx", "--shape", "x=3x5") == (
        "m.onnx: input x has the shape [time, 4]; [3, 5] does not fit it"
    )


def test_programs_go_to_text_and_back(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["asm", str(small), "-o", "p.npz"]) == 0
    assert main(["disasm", "p.npz", "-o", "p.azs"]) == 0
    assert main(["asm", "p.azs", "--dram", "p.npz", "-o", "q.npz"]) == 0
    assert main(["asm", "p.azs", "-o", "zero.npz"]) == 0
    assert Path("p.npz").read_bytes() == Path("q.npz").read_bytes()
    _, image = load_program(Path("p.npz"))
    _, zeros = load_program(Path("zero.npz"))
    assert image.data.any()
    assert not zeros.data.any()
    assert zeros.data.size <= image.data.size
    capsys.readouterr()
    assert main(["disasm", str(small), "--numbered"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(".program small\n")
    assert shown.rstrip().splitlines()[-1].startswith("halt")
    for file in ("p.npz", "p.azs"):
        assert main(["inspect", file]) == 0
        shown = capsys.readouterr().out
        assert "\nProgram small\n" in shown
        assert ("DRAM image of" in shown) == (file == "p.npz")


RACE = """
.region a space=activation start=0x0 size=32 dtype=f32 first=0 last=99
.input x addr=0x0 shape=8 frames=1
view view=v0 space=dram dtype=f32 addr=0x0 cols=8 col_stride=1
view view=v1 space=activation dtype=f32 addr=0x0 cols=8 col_stride=1 region=a
view view=v2 space=activation dtype=i32 addr=0x40
.region n space=activation start=0x40 size=4 dtype=i32 first=0 last=99
load dst=v1 src=v0
vector_unary dst=v1 src=v1 function=relu
halt
"""
LOOP = "again:\nscalar_read src=v2 to=s1\nbranch left=s1 target=again\nhalt"


def test_check(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["asm", str(small), "-o", "p.npz"]) == 0
    capsys.readouterr()
    for what in (str(small), "p.npz"):
        assert main(["check", what, "--strict"]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith("Proofs of small on az1\n")
        assert "\nAssumed: " in shown
        assert main(["check", what, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert {entry["result"] for entry in document["checks"]} == {"proved"}
    Path("race.azs").write_text(RACE)
    assert main(["check", "race.azs", "--limit", "1", "--json"]) == 1
    checks = {entry["check"]: entry for entry in json.loads(capsys.readouterr().out)["checks"]}
    assert {name: entry["result"] for name, entry in checks.items()} == {
        "accumulators": "proved", "bounds": "proved", "control_flow": "proved",
        "deadlock": "proved", "overflow": "proved", "races": "wrong",
    }  # fmt: skip
    finding = checks["races"]["findings"][0]
    assert (finding["instruction"], finding["layer"]) == (4, None)
    assert finding["text"] == {
        "4": "vector_unary dst=v1 src=v1 function=relu",
        "3": "load dst=v1 src=v0",
    }
    assert main(["check", "race.azs"]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith(
        "races: instruction 4 (vector_unary): reads activation bytes [0x0, 0x20) of 'a' that "
        "instruction 3 (load) writes, and no wait orders the two\n"
        "    4: vector_unary dst=v1 src=v1 function=relu\n    3: load dst=v1 src=v0\n"
    )
    assert "races        1 finding " in shown
    Path("loop.azs").write_text(RACE.replace("halt", LOOP).replace("unary", "unary wait_load=1"))
    assert main(["check", "loop.azs"]) == 0
    assert capsys.readouterr().out.startswith(
        "deadlock: not proved: instruction 6 (branch): goes back to instruction 5, and its end "
        "depends on data\n    6: branch left=s1 right=s0 condition=equal target=5\n"
    )
    assert main(["check", "loop.azs", "--strict"]) == 1
    capsys.readouterr()
    assert error_of(capsys, "check", "race.azs", "--limit", "0") == (
        "--limit 0: out of range, allowed: at least 1"
    )
    assert error_of(capsys, "check", "no.npz") == (
        "no.npz: cannot be read, No such file or directory"
    )


def test_export_weights(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = "workload.compression.default.prune.sparsity=0.5"
    method = "workload.compression.default.prune.method=magnitude"
    assert main(["export", str(small), "-o", "w.npz", "--set", key, "--set", method]) == 0
    assert capsys.readouterr().out == "Written to w.npz\n"
    with np.load("w.npz") as weights:
        assert weights["w"].shape == (16, 8)
        assert weights["w"].dtype == np.float32
        zeros = sum(int((weights[name] == 0).sum()) for name in weights.files)
        assert 80 <= zeros <= 90


@pytest.mark.slow
@pytest.mark.parametrize("kind", CATALOGS)
def test_lists_are_quick_and_load_no_kernel(kind: str) -> None:
    code = (
        "import sys\n"
        "from azsim.cli import main\n"
        f"assert main(['list', '{kind}']) == 0\n"
        "print(sorted({'numpy', 'numba', 'onnx'} & set(sys.modules)))\n"
    )
    taken, printed = _times_a_start("-c", code, enough=3.5)
    assert printed.splitlines()[-1] == "[]"
    assert taken < 3.5


@pytest.mark.slow
def test_lists_say_what_the_entries_say() -> None:
    """The lists read text; here the entries are imported, or loaded as for a run."""
    loaded: dict[str, list[tuple[str, str]]] = {
        "codecs": [(name, ", ".join(codec_parameters(name))) for name in codec_names()],
        "quantizers": [(name, "") for name in quantizer_names()],
        "models": [(name, "") for name in builder_names()],
        "pruners": [(name, "") for name in pruner_names()],
        "operators": [
            (name, "yes" if hasattr(module, "lower") else "constants only")
            for name, module in operators().items()
        ],
        "workloads": [(name, load_workload(name).hardware) for name in workload_names()],
        "schemes": [(name, "") for name in scheme_names()],
        "hardware": [(name, "") for name in preset_names()],
        "studies": [(name, "") for name in study_names()],
        "sweeps": [(name, str(load_sweep(name).workload)) for name in sweep_names()],
        "strategies": [(name, "") for name in strategy_names()],
    }
    for kind, wanted in loaded.items():
        rows = CATALOGS[kind]().rows
        found = [
            (row[0], row[1] if second else "")
            for row, (_, second) in zip(rows, wanted, strict=True)
        ]
        assert found == wanted
    assert [row[2] for row in CATALOGS["workloads"]().rows] == [
        load_workload(name).description for name in workload_names()
    ]
    chips = [load_hardware(name) for name in preset_names()]
    assert [row[1:] for row in CATALOGS["hardware"]().rows] == [
        (
            frequency(chip.clock_hz),
            chip.mac.lanes * chip.mac.macs_per_lane,
            chip.mac.zero_skip,
            f"{chip.weight_sram.bytes / 1024:g} KiB",
            f"{chip.activation_sram.bytes / 1024:g} KiB",
            rate(chip.dram.bytes_per_s),
            ", ".join(chip.decoder.codecs),
        )
        for chip in chips
    ]
    assert all(all(row) for kind in ("operators", "studies") for row in CATALOGS[kind]().rows)


def test_a_module_is_read_without_being_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unlikely").mkdir()
    text = '"""What it is."""\nfrom os import path as place\nONE: int = 1\nA, B = f(2)\nC = g()\n'
    (tmp_path / "unlikely" / "entry.py").write_text(text + "def h(): ...\n")
    (tmp_path / "unlikely" / "_private.py").write_text("")
    (tmp_path / "unlikely" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    (found,) = read_folder("unlikely").items()
    assert found[0] == "entry"
    assert found[1].document == "What it is."
    names = {"place": None, "ONE": 1, "A": None, "B": None, "C": None, "h": None}
    assert found[1].names == names
    assert "unlikely" not in sys.modules
    assert read_folder("unlikely_and_missing") == {}


@pytest.mark.parametrize("kind", ["workloads", "hardware", "codecs", "operators", "instructions"])
def test_list(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", kind]) == 0
    shown = capsys.readouterr().out
    assert main(["list", kind, "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert records
    for record in records:
        name = record.get("name") or record["mnemonic"]
        assert f"\n{name} " in shown
    if kind == "instructions":
        assert [row["name"] for row in records] == list(instruction_set().instructions)


def test_list_studies(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "studies", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["name"] for record in records] == study_names()
    assert all(record["meaning"] for record in records)


def test_a_study_is_written_whole_or_not_at_all(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("azsim.studies.fake")
    answers = iter(["first", None, "second"])

    def run(directory: Path, progress: Callable[[str, int, int], None]) -> None:
        progress("point", 0, 1)
        (directory / "README.md").write_text(answer := next(answers) or "")
        if not answer:
            raise azsim.errors.FetchError("model.onnx: cannot be fetched")
        (directory / "data.json").write_text('{"study": "fake"}')

    module.__dict__["run"] = run
    monkeypatch.setitem(sys.modules, "azsim.studies.fake", module)
    monkeypatch.setattr(study, "study_names", lambda: ["fake"])
    assert main(["study", "fake", "-o", "answer"]) == 0
    assert capsys.readouterr().out == "Written to answer\n"
    assert error_of(capsys, "study", "fake", "-o", "answer") == "model.onnx: cannot be fetched"
    assert Path("answer/README.md").read_text() == "first"
    assert main(["study", "fake", "-o", "answer"]) == 0
    assert Path("answer/README.md").read_text() == "second"
    assert sorted(path.name for path in small.parent.iterdir()) == ["answer", "small.yaml"]


def test_a_study_that_is_made_of_weights_makes_them_first(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("azsim.studies.fake")

    def run(directory: Path, progress: Callable[[str, int, int], None]) -> None:
        (directory / "README.md").write_text("of old weights")

    def run_anew(directory: Path, work: Path, progress: Callable[[str, int, int], None]) -> None:
        (directory / "README.md").write_text(f"of weights in {work}")

    module.__dict__["run"] = run
    monkeypatch.setitem(sys.modules, "azsim.studies.fake", module)
    monkeypatch.setattr(study, "study_names", lambda: ["fake"])
    assert error_of(capsys, "study", "fake", "--anew", "work", "-o", "answer") == (
        "study fake: --anew is for a study that is made of trained weights; "
        "this one is made anew without it"
    )
    assert not Path("answer").exists()
    module.__dict__["run_anew"] = run_anew
    assert main(["study", "fake", "--anew", "work", "-o", "answer"]) == 0
    assert Path("answer/README.md").read_text() == "of weights in work"
    assert main(["study", "fake", "-o", "second"]) == 0
    assert Path("second/README.md").read_text() == "of old weights"


def test_shells_without_a_script_are_refused_with_those_that_have_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert error_of(capsys, "completion", "fish") == (
        "unknown shell 'fish', allowed: bash, zsh, tcsh"
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "inspect" in script
    if shell != "tcsh":
        assert "az1_lite" in script
        assert "vad_silero_60s" in script


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="needs bash")
def test_bash_completes_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "complete.bash"
    script.write_text(
        capsys.readouterr().out
        + 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_azsim; echo "${COMPREPLY[@]}"\n'
    )

    def completed(*words: str) -> list[str]:
        done = subprocess.run(
            ["/bin/bash", str(script), "azsim", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    assert completed("r") == ["run", "report"]
    assert completed("run", "vad") == [n for n in workload_names() if n.startswith("vad")]
    assert completed("verify", "--hardware", "dense") == ["dense_npu"]
    assert completed("list", "op") == ["operators"]


# ------------------------------------------------------------------------- the real model


@pytest.mark.fetch
def test_the_speech_model_end_to_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "vad_silero", "--verify", "-o", "out"]) == 0
    assert "bit exact" in capsys.readouterr().out
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["bit_exact"] is True
    assert summary["cycles"] >= summary["bound_cycles"]
    assert summary["cycles"] >= summary["critical_path_cycles"]
    layers = json.loads(Path("out/summary.json").read_text())["layers"]
    for key in ("cycles", "dram_read_bytes", "dram_write_bytes", "macs", "macs_executed"):
        assert sum(entry[key] for entry in layers) == summary[key]
    for engine, busy in summary["engine_busy_cycles"].items():
        assert busy + sum(summary["stall_cycles"][engine].values()) == summary["cycles"]
    with np.load("out/outputs.npz") as outputs:
        assert set(outputs.files) == {"speech_probs", "hn", "cn"}
        assert len(outputs["speech_probs"]) == 32
    trace = json.loads(Path("out/trace.json").read_text())
    assert trace["otherData"]["aggregation"] == "none"


@pytest.mark.fetch
def test_the_speech_model_is_exported_as_onnx(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "small.onnx"
    assert main(["export", "vad_silero", "-o", str(path)]) == 0
    capsys.readouterr()
    model = onnx.load(str(path))
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    assert (weights["encoder.0.weight"] == 0).mean() > 0.45
    assert main(["inspect", str(path)]) == 0
    assert "/recurrent/LSTM" in capsys.readouterr().out
