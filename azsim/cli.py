"""The command line.  Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azsim.arguments import build_parser, shell_functions, study_names, unknown
from azsim.errors import AzsimError, ConfigError, InputError
from azsim.resources import DEFAULT_HARDWARE, working_checkout

if TYPE_CHECKING:
    from azsim.frontend.workload import Workload
    from azsim.hardware import Hardware
    from azsim.isa.program import DramImage, Program
    from azsim.report.listing import Listing
    from azsim.report.passes import PassTables
    from azsim.sim.result import RunResult
    from azsim.stages.kernel import Kernel
    from azsim.survey.tensors import TensorSet

__all__ = ["main"]

_WORKLOAD_SUFFIXES = ("", ".yaml", ".yml")
_BELOW_ONE = 1 - 2**-53
_PROGRAM_SUFFIX, _ASSEMBLY_SUFFIX = ".npz", ".azs"
_DATA_OF_WORKLOAD = "arrays are for programs (.azs, .npz); a workload's file names its input"
_OF_WORKLOADS = {
    "verify": "compares a workload with its reference; a program has none",
    "explain": "explains what the compiler chose; a program is taken as it is",
    "replan": "lets the compiler plan anew; a program is taken as it is",
    "print_after": "shows what the compiler's passes made; a program is taken as it is",
}
_FAILED, _BAD_INPUT, _INTERRUPTED, _BROKEN_PIPE = 1, 2, 130, 141

_Progress = Callable[[str, int, int], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Returns
    -------
    int
        0 done, 1 a check failed, 2 bad input, 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # a terminal without UTF-8 shows "?"
            stream.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    words = sys.argv[1:] if arguments is None else arguments
    try:
        parser = build_parser()
        if not words:
            parser.print_help(sys.stderr)
            return _BAD_INPUT
        parsed = parser.parse_args(words)
        with _caching(parsed):
            code = _COMMANDS[parsed.command](parsed)
        sys.stdout.flush()
        return code
    except SystemExit as ending:  # --help and --version
        return int(ending.code or 0)
    except AzsimError as error:
        print(f"azsim: error: {error}", file=sys.stderr)
        return _BAD_INPUT
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Who reads has enough; flushing at exit would complain again.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE


def _caching(arguments: argparse.Namespace) -> contextlib.AbstractContextManager[None]:
    if not getattr(arguments, "no_cache", False):
        return contextlib.nullcontext()
    from azsim.compiler.block_cache import without_cache

    return without_cache()


# ---------------------------------------------------------------------------- run, verify


def _run(arguments: argparse.Namespace) -> int:
    from azsim.report import files
    from azsim.report.json_text import json_text

    if Path(arguments.workload).suffix in (_PROGRAM_SUFFIX, _ASSEMBLY_SUFFIX):
        return _run_kernel(arguments)
    if arguments.data:
        raise InputError(f"--data {arguments.data}: {_DATA_OF_WORKLOAD}")
    workload, hardware = _load(arguments)
    directory = arguments.output or _default_directory("runs", workload.name)
    files.check_writable(directory)
    shown = _pass_tables(arguments) if arguments.print_after else None
    result = _simulate(
        arguments, workload, hardware, verify=arguments.verify, timeline=True, observe=shown
    )
    files.write_run(result, directory)
    explanation = result.explanation
    if arguments.json:
        from azsim.report.explain import explanation_document

        more: dict[str, object] = {} if shown is None else {"passes": shown.records()}
        if explanation is not None:
            more["explanation"] = explanation_document(explanation)
        sys.stdout.write(json_text({**result.summary, **more}))
    else:
        if shown is not None:
            _show_passes(shown)
        from azsim.report import text

        _show(text.run_report(result))
        if explanation is not None:
            from azsim.report.explain import explanation_tables

            print()
            _show_tables(explanation_tables(explanation))
        print(f"\nWritten to {_shown_path(directory)}")
    return _check(workload, result)


def _run_kernel(arguments: argparse.Namespace) -> int:
    from azsim import pipeline
    from azsim.report import files
    from azsim.report.json_text import json_text

    path = Path(arguments.workload)
    for option, reason in _OF_WORKLOADS.items():
        if getattr(arguments, option):
            raise InputError(f"--{option.replace('_', '-')}: {reason}")
    directory = arguments.output or _default_directory("runs", path.stem)
    files.check_writable(directory)
    hardware = _load_chip(arguments)
    with _progress() as progress:
        result = pipeline.run_kernel(
            path,
            arguments.data,
            hardware,
            exact_timing=arguments.exact_timing,
            progress=progress,
        )
    files.write_kernel(result, directory)
    if arguments.json:
        sys.stdout.write(json_text(result.summary))
    else:
        from azsim.report import text
        from azsim.report.kernel import kernel_tables
        from azsim.report.tables import table

        first, *others = (table(entry) for entry in kernel_tables(result))
        _show([first, text.engines(result), *others])
        print(f"\nWritten to {_shown_path(directory)}")
    for race in result.races or ():
        print(f"azsim: check failed: {race}", file=sys.stderr)
    return _FAILED if result.races else 0


def _load_chip(arguments: argparse.Namespace) -> Hardware:
    """Read the hardware of a command that has no workload."""
    from azsim.config import split_overrides
    from azsim.hardware import load_hardware

    sets = split_overrides(arguments.set, ("hardware",))
    return load_hardware(arguments.hardware or DEFAULT_HARDWARE, sets["hardware"])


def _verify(arguments: argparse.Namespace) -> int:
    from azsim.report import files
    from azsim.report.json_text import json_text

    workload, hardware = _load(arguments)
    if arguments.output:
        files.check_writable(arguments.output)
    keeps = bool(arguments.output)
    result = _simulate(arguments, workload, hardware, verify=True, timeline=keeps)
    if arguments.output:
        files.write_run(result, arguments.output)
    comparison = result.comparison
    assert comparison is not None
    if arguments.json:
        document = files.run_document(result)["comparison"]
        sys.stdout.write(json_text({**result.summary, "comparison": document}))
    else:
        from azsim.report import text

        print(f"{result.workload} on {result.hardware}\n")
        _show([text.verification(comparison), *text.exact_timing(result)])
    return _check(workload, result)


def _load(arguments: argparse.Namespace) -> tuple[Workload, Hardware]:
    """Read workload and hardware; the problems of both, and of all overrides, come at once."""
    from azsim.config import split_overrides
    from azsim.frontend.workload import load_workload, named_hardware
    from azsim.hardware import load_hardware

    problems: list[str] = []
    workload = hardware = None
    try:
        sets = split_overrides(arguments.set, ("workload", "hardware"))
    except ConfigError as error:
        problems += error.problems
        known = [text for text in arguments.set if text.startswith(("workload.", "hardware."))]
        sets = split_overrides(known, ("workload", "hardware"))
    try:
        workload = load_workload(arguments.workload, sets["workload"])
    except ConfigError as error:
        problems += error.problems
    reference = arguments.hardware or named_hardware(arguments.workload, sets["workload"])
    if reference:
        try:
            hardware = load_hardware(reference, sets["hardware"])
        except ConfigError as error:
            problems += error.problems
    if problems or workload is None or hardware is None:
        raise ConfigError(problems)
    return workload, hardware


def _preset(arguments: argparse.Namespace) -> Hardware | None:
    """Return the chip before `--set`, whose timing values are planned with; None to replan."""
    from azsim.config import split_overrides
    from azsim.frontend.workload import named_hardware
    from azsim.hardware import load_hardware

    sets = split_overrides(arguments.set, ("workload", "hardware"))
    if arguments.replan or not sets["hardware"]:
        return None
    reference = arguments.hardware or named_hardware(arguments.workload, sets["workload"])
    try:
        return load_hardware(reference) if reference else None
    except ConfigError:
        return None  # a file that is whole only with what is set: its values are the set ones


def _simulate(
    arguments: argparse.Namespace,
    workload: Workload,
    hardware: Hardware,
    *,
    verify: bool,
    timeline: bool,
    observe: PassTables | None = None,
) -> RunResult:
    from azsim import pipeline

    with _progress() as progress:
        return pipeline.run(
            workload,
            hardware,
            preset=_preset(arguments),
            verify=verify,
            exact_timing=arguments.exact_timing,
            explained=getattr(arguments, "explain", False),
            timeline=timeline,
            observe=observe,
            progress=progress,
        )


def _check(workload: Workload, result: RunResult) -> int:
    """Say on stderr what a run should have kept and did not."""
    from azsim import pipeline

    failures = [f"expect: {sentence}" for sentence in pipeline.check_expectations(workload, result)]
    if result.comparison is not None and not result.comparison.bit_exact:
        failures.append(f"not bit exact: {result.comparison.first_difference}")
    for failure in failures:
        print(f"azsim: check failed: {failure}", file=sys.stderr)
    return _FAILED if failures else 0


# ---------------------------------------------------------------------------------- codecs


def _codecs(arguments: argparse.Namespace) -> int:
    from azsim.report import files
    from azsim.report.json_text import json_text
    from azsim.survey.codec_table import codec_table, codec_variants, records

    _check_range("--bits", arguments.bits, 2, 8, "2 to 8")
    _check_range("--sparsity", arguments.sparsity, 0, _BELOW_ONE, "at least 0, below 1")
    if arguments.csv:
        files.check_file_writable(arguments.csv)
    variants = codec_variants(arguments.codec)
    tensors, hardware = _read_tensors(arguments)
    with _progress() as progress:
        rows = codec_table(tensors.matrices, hardware, variants, progress=progress)
    if arguments.csv:
        from azsim.survey.listings import codec_csv

        files.write_file(arguments.csv, codec_csv(rows).encode())
    if arguments.json:
        sys.stdout.write(json_text(records(rows)))
        for name, reason in tensors.skipped.items():
            print(f"azsim: note: {name} is skipped: {reason}", file=sys.stderr)
    else:
        from azsim.survey.listings import codec_listings

        _show_tables(codec_listings(rows, hardware.name, tensors.skipped))
        if arguments.csv:
            print(f"\nWritten to {arguments.csv}")
    return 0


def _check_range(option: str, value: float | None, least: float, most: float, text: str) -> None:
    if value is not None and not least <= value <= most:
        raise InputError(f"{option} {value}: out of range, allowed: {text}")


def _read_tensors(arguments: argparse.Namespace) -> tuple[TensorSet, Hardware]:
    from azsim.survey.tensors import read_file, read_workload

    path = Path(arguments.file)
    if path.suffix in _WORKLOAD_SUFFIXES:
        workload, hardware = _load(argparse.Namespace(**vars(arguments), workload=arguments.file))
        return (
            read_workload(workload, arguments.bits, arguments.sparsity, arguments.tensor),
            hardware,
        )
    hardware = _load_chip(arguments)
    bits = 8 if arguments.bits is None else arguments.bits
    return read_file(path, bits, arguments.sparsity or 0.0, arguments.tensor), hardware


# --------------------------------------------------------------------------------- compile


def _compile(arguments: argparse.Namespace) -> int:
    from azsim import pipeline

    if Path(arguments.workload).suffix in (_PROGRAM_SUFFIX, _ASSEMBLY_SUFFIX):
        raise InputError(f"{arguments.workload}: is a program already, allowed: a workload")
    shown = _pass_tables(arguments)
    workload, hardware = _load(arguments)
    pipeline.compile_workload(workload, hardware, shown, _preset(arguments))
    if arguments.json:
        from azsim.report.json_text import json_text

        sys.stdout.write(json_text(shown.records()))
        return 0
    _show_passes(shown)
    _show_tables([shown.overview()])
    return 0


def _pass_tables(arguments: argparse.Namespace) -> PassTables:
    """Return what collects the values of the passes that `--print-after` names."""
    from azsim.compiler.compile import PASSES
    from azsim.report.passes import PassTables

    allowed = (*PASSES, "all")
    strange = [name for name in arguments.print_after if name not in allowed]
    if strange:
        raise InputError("\n".join(unknown("pass", name, allowed) for name in strange))
    return PassTables(PASSES if "all" in arguments.print_after else arguments.print_after)


def _show_passes(shown: PassTables) -> None:
    for tables in shown.tables.values():
        _show_tables(tables)
        print()


# ------------------------------------------------------------------ inspect, export, list


def _inspect(arguments: argparse.Namespace) -> int:
    name, note = arguments.file, ""
    path = Path(name)
    if path.suffix == ".onnx":
        from azsim.report import inspection

        shapes = dict(_shape(text) for text in arguments.shape)
        tables, note = inspection.onnx_tables(path, shapes)
    elif path.suffix in (_PROGRAM_SUFFIX, _ASSEMBLY_SUFFIX):
        from azsim.isa.program_file import load_program
        from azsim.report import programs

        is_file = path.suffix == _PROGRAM_SUFFIX
        parts = load_program(path) if is_file else (programs.read_assembly(path), None)
        tables = programs.program_tables(*parts)
    else:
        from azsim import pipeline
        from azsim.report import inspection

        workload = _load_workload(name, arguments.set)
        model = pipeline.load_model(workload)
        compressed = pipeline.compress_model(workload, model)
        tables = inspection.model_tables(model) + inspection.graph_tables(compressed.graph)
        tables.append(inspection.scheme_table(compressed))
    if arguments.json:
        from azsim.report.json_text import json_text

        document: dict[str, object] = {_key(table.title): table.records() for table in tables}
        sys.stdout.write(json_text({**document, "unsupported": note or None}))
    else:
        _show_tables(tables)
        if note:
            print(f"\nNot supported: {note}")
    return 0


def _key(title: str) -> str:
    return title.lower().replace(" ", "_")


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, lengths = text.rpartition("=")
    words = lengths.replace(",", "x").split("x")
    if not name or not all(word.isdecimal() for word in words):
        raise InputError(f"--shape {text}: not a shape, allowed: INPUT=1x576")
    return name, tuple(int(word) for word in words)


def _load_workload(path_or_name: str, texts: Sequence[str]) -> Workload:
    from azsim.config import split_overrides
    from azsim.frontend.workload import load_workload

    return load_workload(path_or_name, split_overrides(texts, ("workload",))["workload"])


def _export(arguments: argparse.Namespace) -> int:
    from azsim.report import files

    path: Path = arguments.output
    if path.suffix not in (".npz", ".onnx"):
        raise InputError(f"{path}: unknown kind of file {path.suffix!r}, allowed: .npz, .onnx")
    files.check_file_writable(path)
    workload = _load_workload(arguments.workload, arguments.set)
    from azsim import pipeline

    is_model = path.suffix == ".onnx"
    data = (
        pipeline.export_onnx(workload)
        if is_model
        else files.npz_bytes(pipeline.export_arrays(workload))
    )
    files.write_file(path, data)
    print(f"Written to {path}")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from azsim.report.catalog import CATALOGS

    table = CATALOGS[arguments.kind]()
    if arguments.json:
        from azsim.report.json_text import json_text

        sys.stdout.write(json_text(table.records()))
    else:
        _show_tables([table])
    return 0


# ----------------------------------------------------------------------------- programs


def _asm(arguments: argparse.Namespace) -> int:
    from azsim.isa.program_file import load_program, save_program
    from azsim.report import files
    from azsim.stages.kernel import needed_data, place_source, read_source, zero_image

    suffix = arguments.output.suffix
    if suffix != _PROGRAM_SUFFIX:
        found = f"unknown kind of file {suffix!r}, allowed: {_PROGRAM_SUFFIX}"
        raise InputError(f"{arguments.output}: {found}")
    files.check_file_writable(arguments.output)
    note = ""
    if Path(arguments.workload).suffix != _ASSEMBLY_SUFFIX:
        if arguments.data:
            raise InputError(f"--data {arguments.data}: {_DATA_OF_WORKLOAD}")
        program, image = _compiled(arguments)
    elif arguments.data:
        if arguments.dram:
            raise InputError("--data and --dram: either makes the DRAM image; give one of them")
        kernel = _load_kernel(arguments)
        program, image = kernel.program, kernel.image
    else:
        source = read_source(Path(arguments.workload))
        if any(data.kind == "weight" for data in source.data):
            needed = needed_data(source)
            raise InputError(f"{arguments.workload}: needs --data FILE.npz with {needed}")
        program, _ = place_source(source, arguments.workload)
        image = load_program(arguments.dram)[1] if arguments.dram else zero_image(program)
        if not arguments.dram:
            note = f"its DRAM image is {image.data.size} zeros; --data or --dram fills it"
    save_program(arguments.output, program, image)
    print(f"Written to {arguments.output}{note and '; '}{note}")
    return 0


def _load_kernel(arguments: argparse.Namespace) -> Kernel:
    from azsim.inputs.tensors import read_npz
    from azsim.stages.kernel import load_kernel

    arrays, hardware = read_npz(arguments.data), _load_chip(arguments)
    return load_kernel(Path(arguments.workload), arrays, str(arguments.data), hardware)


def _disasm(arguments: argparse.Namespace) -> int:
    from azsim.isa import assembly
    from azsim.isa.program_file import load_program
    from azsim.report import files

    if arguments.output:
        files.check_file_writable(arguments.output)
    if Path(arguments.workload).suffix == _PROGRAM_SUFFIX:
        program, _ = load_program(Path(arguments.workload))
    else:
        program, _ = _compiled(arguments)
    text = assembly.format(program, numbered=arguments.numbered, commented=True)
    if arguments.output:
        files.write_file(arguments.output, text.encode())
        print(f"Written to {arguments.output}")
    else:
        sys.stdout.write(text)
    return 0


def _compiled(arguments: argparse.Namespace) -> tuple[Program, DramImage]:
    from azsim import pipeline

    workload, hardware = _load(arguments)
    compiled = pipeline.compile_workload(workload, hardware, preset=_preset(arguments))
    return compiled.program, compiled.image


def _prove(arguments: argparse.Namespace) -> int:
    from azsim.report import proofs
    from azsim.report.json_text import json_text
    from azsim.sim.checks import check_program

    if arguments.limit < 1:
        raise InputError(f"--limit {arguments.limit}: out of range, allowed: at least 1")
    program, hardware, image = _to_be_proved(arguments)
    verdicts = check_program(program, hardware, image)
    if arguments.json:
        sys.stdout.write(json_text(proofs.proof_document(program, hardware.name, verdicts)))
    else:
        for line in proofs.proof_lines(program, verdicts, arguments.limit):
            print(line)
        _show_tables([proofs.proof_table(program, hardware.name, verdicts)])
    wrong = any(verdict.findings for verdict in verdicts)
    unproved = any(verdict.unproved for verdict in verdicts)
    return _FAILED if wrong or (arguments.strict and unproved) else 0


def _to_be_proved(arguments: argparse.Namespace) -> tuple[Program, Hardware, DramImage | None]:
    from azsim.config import split_overrides
    from azsim.hardware import load_hardware

    path = Path(arguments.workload)
    if path.suffix not in (_PROGRAM_SUFFIX, _ASSEMBLY_SUFFIX):
        from azsim import pipeline

        workload, hardware = _load(arguments)
        compiled = pipeline.compile_workload(workload, hardware, proves=False)
        return compiled.program, hardware, compiled.image
    from azsim.isa.program_file import load_program
    from azsim.report import programs

    sets = split_overrides(arguments.set, ("hardware",))
    hardware = load_hardware(arguments.hardware or DEFAULT_HARDWARE, sets["hardware"])
    if path.suffix == _ASSEMBLY_SUFFIX:
        return programs.read_assembly(path), hardware, None
    program, image = load_program(path)
    return program, hardware, image


# ------------------------------------------------------------- schema, study, completion


def _schema(arguments: argparse.Namespace) -> int:
    from azsim.report.json_text import json_text
    from azsim.report.schemas import SCHEMAS

    sys.stdout.write(json_text(SCHEMAS[arguments.kind]()))
    return 0


def _study(arguments: argparse.Namespace) -> int:
    import importlib

    from azsim.report import files

    names = study_names()
    if arguments.name not in names:
        raise InputError(unknown("study", arguments.name, names))
    directory = arguments.output or _default_directory("", arguments.name)
    with files.replaced_folder(directory, files.foreign_to_study) as folder:
        module = importlib.import_module(f"azsim.studies.{arguments.name}")
        with _progress() as progress:
            module.run(folder, progress or (lambda stage, done, total: None))
    print(f"Written to {_shown_path(directory)}")
    return 0


def _completion(arguments: argparse.Namespace) -> int:
    import shtab

    functions: Any = shell_functions()  # shtab's stubs know one shell's text only
    sys.stdout.write(shtab.complete(build_parser(), arguments.shell, preamble=functions) + "\n")
    return 0


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "asm": _asm,
    "check": _prove,
    "codecs": _codecs,
    "compile": _compile,
    "completion": _completion,
    "disasm": _disasm,
    "export": _export,
    "inspect": _inspect,
    "list": _list,
    "run": _run,
    "schema": _schema,
    "study": _study,
    "verify": _verify,
}


# ------------------------------------------------------------------------ terminal, places


def _default_directory(below: str, name: str) -> Path:
    root = working_checkout()
    return Path("azsim-runs") / name if root is None else root / "reports" / below / name


def _shown_path(path: Path) -> Path:
    absolute = path.absolute()
    return absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else path


def _show(renderables: Sequence[Any]) -> None:
    from azsim.report.tables import render

    width = max(40, shutil.get_terminal_size((100, 24)).columns)
    sys.stdout.write(render(renderables, width, color=sys.stdout.isatty()))


def _show_tables(tables: Sequence[Listing]) -> None:
    from azsim.report.tables import table

    _show([table(entry) for entry in tables])


@contextmanager
def _progress() -> Iterator[_Progress | None]:
    """Bars on stderr; none where that is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        tasks = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                for task in bars.tasks:
                    bars.update(task.id, completed=task.total)
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield tell
