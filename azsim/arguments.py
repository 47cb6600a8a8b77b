"""What the command line takes: commands, options, completion.  Standard library only."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from azsim.errors import InputError
from azsim.resources import checkout_root

__all__ = ["build_parser", "shell_functions", "study_names", "unknown"]

_PACKAGE = Path(__file__).parent
_LISTS = (
    "workloads",
    "schemes",
    "hardware",
    "models",
    "codecs",
    "quantizers",
    "pruners",
    "operators",
    "instructions",
    "kernels",
    "passes",
    "studies",
    "sweeps",
    "strategies",
    "recipes",
)
_SCHEMAS = ("workload", "hardware", "scheme", "sweep")
_SHELLS = ("bash", "zsh", "tcsh")


class _Parser(argparse.ArgumentParser):
    """Errors as azsim's own, and rich help that is imported when it is shown."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")

    def format_help(self) -> str:
        from rich_argparse import RichHelpFormatter

        self.formatter_class = RichHelpFormatter
        return super().format_help()

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise InputError(unknown(str(action.metavar).lower(), value, action.choices))


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib import metadata

        try:
            version = metadata.version("azsim")
        except metadata.PackageNotFoundError:
            version = "(not installed)"
        parser._print_message(f"azsim {version}\n", sys.stdout)
        parser.exit()


def build_parser(*, joined: bool = True) -> argparse.ArgumentParser:
    """Make the parser; the namespace's ``command`` is the command's name.

    Parameters
    ----------
    joined : bool
        With commands of two words, such as ``sweep report``; a shell completes single ones.
    """
    parser = _Parser(
        prog="azsim",
        description="Run compressed neural networks on a simulated AZ-style edge processor: the "
        "bits are executed, the clock is modelled.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    # Given a name, argparse needs no formatter for it.
    commands = parser.add_subparsers(prog="azsim", metavar="COMMAND", dest="command", required=True)

    def add(name: str, text: str) -> _Parser:
        return commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")

    run = add("run", "compress, compile, execute, time and report a workload, or run a program")
    _workload(run, chip=True, what=_RUN_HELP)
    _data(run)
    _output(run, "folder of the results, replaced as a whole", _DIRECTORY)
    run.add_argument("--verify", action="store_true", help="compare with the reference evaluator")
    run.add_argument(
        "--explain",
        action="store_true",
        help="say why weights are pinned or streamed, what limits each layer and what would help",
    )
    _print_after(run)
    _exact_timing(run)
    _json(run, "print the summary as JSON and nothing else")

    verify = add("verify", "compare a run, bit for bit, with the reference evaluator")
    _workload(verify, chip=True)
    _exact_timing(verify)
    _output(verify, "also write the results there", _DIRECTORY)
    _json(verify, "print the summary and the comparison as JSON and nothing else")

    compile_ = add("compile", "compile a workload, and show what the compiler's passes make")
    _workload(compile_, chip=True)
    _print_after(compile_)
    _json(compile_, "print the tables as JSON and nothing else")

    inspect = add("inspect", "show what is in a workload, an ONNX file or a program")
    _complete(inspect.add_argument("file", metavar="FILE", help=_INSPECT_HELP), _WORKLOAD)
    _sets(inspect)
    inspect.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="INPUT=1x576",
        help="shape of an ONNX file's input (default: symbolic lengths are 1)",
    )
    _json(inspect, "print the tables as JSON")

    codecs = add("codecs", "compare all codecs on the tensors of a file")
    _complete(codecs.add_argument("file", metavar="FILE", help=_CODECS_HELP), _WORKLOAD)
    codecs.add_argument(
        "--bits", type=int, metavar="B", help="of a code, 2 to 8 (default: 8, or the workload's)"
    )
    codecs.add_argument(
        "--sparsity",
        type=float,
        metavar="S",
        help="share of the weights pruned in each tensor (default: 0, or the workload's)",
    )
    codecs.add_argument(
        "--tensor",
        action="extend",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="only these tensors; with *, ? and [...]",
    )
    codecs.add_argument(
        "--codec",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME",
        help="only these codecs; NAME+palette and NAME+PARAMETER=INTEGER set parameters",
    )
    _hardware(codecs, "the workload's, or az1")
    _sets(codecs)
    _json(codecs, "print one object a tensor and codec as JSON and nothing else")
    csv = codecs.add_argument("--csv", type=Path, metavar="FILE", help="also write a table there")
    _complete(csv, _FILE)

    export = add("export", "write the pruned and quantized weights, as float32")
    _workload(export, chip=False)
    _output(export, ".npz of the weights, or the whole .onnx model", _FILE, required=True)

    listing = add("list", "show what there is to choose from")
    listing.add_argument("kind", metavar="KIND", choices=_LISTS, help=", ".join(_LISTS))
    _json(listing, "print the table as JSON")

    asm = add("asm", "make a program file of assembly text, or of a workload")
    _workload(asm, chip=True, what="assembly text (.azs), or a workload")
    _output(asm, "program file (.npz)", _FILE, required=True)
    _data(asm)
    dram = asm.add_argument(
        "--dram", type=Path, metavar="FILE", help="take the DRAM image of this program file"
    )
    _complete(dram, _FILE)

    disasm = add("disasm", "write a program file, or a workload's program, as text")
    _workload(disasm, chip=True, what="a program file (.npz), or a workload")
    _output(disasm, "file of the text (default: print it)", _FILE)
    disasm.add_argument("--numbered", action="store_true", help="number the instructions")

    check = add("check", "prove what can be proved of a program without running it")
    _workload(check, chip=True, what="a program file (.npz), assembly text (.azs) or a workload")
    check.add_argument(
        "--limit", type=int, default=20, metavar="N", help="findings shown a check (default: 20)"
    )
    check.add_argument("--strict", action="store_true", help="exit 1 also for what is not proved")
    _json(check, "print all findings as JSON and nothing else")

    schema = add("schema", "print the JSON schema of a kind of file, for editors")
    schema.add_argument("kind", metavar="KIND", choices=_SCHEMAS, help=", ".join(_SCHEMAS))

    _sweep(add("sweep", "evaluate many designs of model, scheme and chip"))
    if joined:
        _sweep_export(add("sweep export", "write a sweep's points as CSV or Parquet"))
        _sweep_report(add("sweep report", "show a sweep's front, and write its page"))

    _corpus(add("corpus", "let speech synthesizers say the commands of a recogniser"))

    study = add("study", "make a study anew: its figures, plots and text")
    _complete(study.add_argument("name", metavar="NAME", help="see: azsim list studies"), _STUDY)
    _output(study, "folder of the study, replaced as a whole", _DIRECTORY)

    _train(add("train", "train a recogniser of spoken commands (needs PyTorch)"))

    completion = add("completion", "print the completion script of a shell")
    completion.add_argument("shell", metavar="SHELL", choices=_SHELLS, help=", ".join(_SHELLS))
    return parser


_INSPECT_HELP = "a workload (file or name), an ONNX file, a program (.npz) or assembly text (.azs)"
_CODECS_HELP = (
    "an ONNX, npz or safetensors file, whose floats are pruned and quantized and whose integers "
    "are codes, or a workload, whose scheme says how unless --bits or --sparsity do"
)
_WORKLOAD_HELP = "a workload's file, or a name of: azsim list workloads"
_SWEEP_HELP = "a sweep file, or a name of: azsim list sweeps"
_RUN_HELP = f"{_WORKLOAD_HELP}; or a program: assembly text (.azs) or a program file (.npz)"

# What shtab completes, by shell; functions of `_preamble` or its own.
_FILE = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}
_DIRECTORY = {"bash": "_shtab_compgen_dirs", "zsh": "_files -/", "tcsh": "d"}
_WORKLOAD = {"bash": "_azsim_workloads", "zsh": "_azsim_workloads", "tcsh": "f"}
_HARDWARE = {"bash": "_azsim_hardware", "zsh": "_azsim_hardware", "tcsh": "f"}
_SWEEP = {"bash": "_azsim_sweeps", "zsh": "_azsim_sweeps", "tcsh": "f"}
_STUDY = {"bash": "_azsim_studies", "zsh": "_azsim_studies", "tcsh": "f"}


def _complete(action: argparse.Action, how: dict[str, str]) -> None:
    action.complete = how  # pyright: ignore[reportAttributeAccessIssue]


def _workload(parser: argparse.ArgumentParser, *, chip: bool, what: str = _WORKLOAD_HELP) -> None:
    _complete(parser.add_argument("workload", metavar="WORKLOAD", help=what), _WORKLOAD)
    if chip:
        _hardware(parser, "the workload's")
    _sets(parser)
    if chip:
        parser.add_argument(
            "--replan",
            action="store_true",
            help="let the compiler plan with the timing keys that --set changes, not the preset's",
        )
        parser.add_argument(
            "--no-cache",
            action="store_true",
            help="encode weights and prove the program anew, and keep neither in the user cache",
        )


def _sweep(parser: argparse.ArgumentParser) -> None:
    _complete(parser.add_argument("file", metavar="FILE", help=_SWEEP_HELP), _SWEEP)
    _output(parser, "folder of results.sqlite; what it holds is not done again", _DIRECTORY)
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="worker processes (default: one per core)"
    )
    parser.add_argument(
        "--budget", metavar="TIME", help="begin no point after so long: 90s, 30m, 1h30m"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say how many points, what they share, how long"
    )
    parser.add_argument(
        "--explain-reuse",
        action="store_true",
        help="show what each stage computed and what it took from other points",
    )
    parser.add_argument(
        "--restart", action="store_true", help="set results that are there aside and begin anew"
    )
    parser.add_argument("--dask", metavar="ADDRESS", help="have workers of a Dask scheduler work")
    for name in ("slurm", "lsf"):
        text = f"have jobs of {name.upper()} work: options of dask-jobqueue, or a file of them"
        parser.add_argument(f"--{name}", metavar="FILE|KEY=VALUE,...", help=text)
    _sets(parser)
    _json(parser, "print the result as JSON and nothing else")


def _sweep_directory(parser: argparse.ArgumentParser) -> None:
    directory = parser.add_argument(
        "directory", type=Path, metavar="DIR", help="folder of a sweep, which may be running"
    )
    _complete(directory, _DIRECTORY)


def _sweep_export(parser: argparse.ArgumentParser) -> None:
    _sweep_directory(parser)
    for kind in ("csv", "parquet"):
        file = parser.add_argument(f"--{kind}", type=Path, metavar="FILE", help="written there")
        _complete(file, _FILE)
    parser.add_argument(
        "--every-figure", action="store_true", help="also all other numbers of each point's summary"
    )


def _sweep_report(parser: argparse.ArgumentParser) -> None:
    _sweep_directory(parser)
    _output(parser, "file of the page (default: DIR/report.html)", _FILE)
    parser.add_argument("--no-page", action="store_true", help="print the tables alone")
    _json(parser, "print what was found as JSON, write no page")


def _train(parser: argparse.ArgumentParser) -> None:
    recipe = parser.add_argument(
        "recipe",
        metavar="RECIPE",
        help="a recipe file, a name of: azsim list recipes, or all: "
        "every model of the study accuracy_vs_cost",
    )
    _complete(recipe, _FILE)
    corpus = parser.add_argument(
        "--corpus", type=Path, metavar="DIR", required=True, help="what azsim corpus made"
    )
    _complete(corpus, _DIRECTORY)
    start = parser.add_argument(
        "--start", type=Path, metavar="FILE", help="weights to begin with (default: the recipe's)"
    )
    _complete(start, _FILE)
    teacher = parser.add_argument(
        "--teacher", type=Path, metavar="FILE", help="weights to learn from (default: the recipe's)"
    )
    _complete(teacher, _FILE)
    parser.add_argument(
        "--only", default="*", metavar="PATTERN", help="with all: models whose names fit"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="with all: processes")
    parser.add_argument(
        "--resume", action="store_true", help="go on from the checkpoint in the output folder"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change a key, such as recipe.seed=1; may be repeated",
    )
    _output(parser, "folder of weights, history and checkpoint", _DIRECTORY)


def _hardware(parser: argparse.ArgumentParser, default: str) -> None:
    hardware = parser.add_argument(
        "--hardware",
        metavar="NAME|FILE",
        help=f"a preset or a hardware file (default: {default})",
    )
    _complete(hardware, _HARDWARE)


def _data(parser: argparse.ArgumentParser) -> None:
    data = parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="npz of the arrays that a program declares: its inputs, and the codes of its weights",
    )
    _complete(data, _FILE)


def _print_after(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--print-after",
        action="append",
        default=[],
        metavar="PASS",
        help="show what a pass of the compiler made; may be repeated (see: azsim list passes; "
        "all: each)",
    )


def _corpus(parser: argparse.ArgumentParser) -> None:
    _output(parser, "folder of the corpus, replaced as a whole", _DIRECTORY, required=True)
    counts = {
        "--utterances": (16_000, "utterances of training"),
        "--copies": (3, "features of training, each with other noise and gain"),
        "--tests": (1_000, "utterances of each of the two large test sets"),
        "--seed": (0, "the same seed and engines give the same bytes"),
    }
    for flag, (default, text) in counts.items():
        shown = f"{text} (default: {default:,})"
        parser.add_argument(flag, type=int, default=default, metavar="N", help=shown)
    parser.add_argument(
        "--sets",
        metavar="NAME,NAME",
        help="only these, such as unseen_voices,unseen_engines (default: all)",
    )
    parser.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="that work at the same time (default: one a core)",
    )


def _exact_timing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--exact-timing",
        action="store_true",
        help="time the run cycle by cycle, hundreds of times slower, and show both models",
    )


def _sets(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change a key, such as workload.compression.default.weights.bits=4 or "
        "hardware.clock_hz=1000000; may be repeated",
    )


def _output(
    parser: argparse.ArgumentParser, text: str, how: dict[str, str], *, required: bool = False
) -> None:
    metavar = "FILE" if how is _FILE else "DIR"
    action = parser.add_argument(
        "-o", "--output", type=Path, metavar=metavar, help=text, required=required
    )
    _complete(action, how)


def _json(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--json", action="store_true", help=text)


def shell_functions() -> dict[str, str]:
    """Functions that complete names and files, by shell."""
    names = {
        "workloads": _names("../workloads" if checkout_root() else "_data/workloads", ".yaml"),
        "hardware": _names("hardware/presets", ".yaml"),
        "studies": _names("studies", ".py"),
        "sweeps": [
            *_names(
                "../workloads/sweeps" if checkout_root() else "_data/workloads/sweeps", ".yaml"
            ),
            "export",
            "report",
        ],
    }
    bash, zsh = [], []
    for kind, entries in names.items():
        words = " ".join(entries)
        files = "" if kind == "studies" else "compgen -f -- $1; "
        bash.append(f'_azsim_{kind}() {{ {files}compgen -W "{words}" -- $1; }}')
        files = "" if kind == "studies" else "; _files"
        zsh.append(f"_azsim_{kind}() {{ compadd -- {words}{files} }}")
    return {"bash": "\n".join(bash), "zsh": "\n".join(zsh)}


def study_names() -> list[str]:
    """Names of the studies, sorted; imports none of them."""
    return _names("studies", ".py")


def _names(folder: str, suffix: str) -> list[str]:
    """Entries of one of the package's folders."""
    return sorted(path.stem for path in (_PACKAGE / folder).glob(f"[!_]*{suffix}"))


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Say that there is no such name, with the nearest one and all of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown {what} {name!r}, {hint}allowed: {', '.join(names) or 'none'}"
