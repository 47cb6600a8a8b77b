"""The parser: every command, and what it takes.  Standard library only."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from azsim.arguments import options
from azsim.arguments.completion import DIRECTORY, FILE, STUDY, SWEEP, WORKLOAD, complete
from azsim.arguments.options import WORKLOAD_HELP
from azsim.errors import InputError, unknown

__all__ = ["build_parser"]

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
    for name, (text, fill) in _commands().items():
        if joined or " " not in name:
            fill(commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}."))
    return parser


def _commands() -> dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]]:
    """What each command does, and what it takes, in the order of the help."""
    return {
        "run": ("compress, compile, execute, time and report a workload, or run a program", _run),
        "verify": ("compare a run, bit for bit, with the reference evaluator", _verify),
        "compare": (
            "show what differs between two runs; fails if the second is worse",
            _compare,
        ),
        "report": ("make the page of a run's folder anew (needs azsim[report])", _report),
        "compile": ("compile a workload, and show what the compiler's passes make", _compile),
        "inspect": ("show what is in a workload, an ONNX file or a program", _inspect),
        "codecs": ("compare all codecs on the tensors of a file", _codecs),
        "export": ("write the pruned and quantized weights, as float32", _export),
        "list": ("show what there is to choose from", _list),
        "asm": ("make a program file of assembly text, or of a workload", _asm),
        "disasm": ("write a program file, or a workload's program, as text", _disasm),
        "check": ("prove what can be proved of a program without running it", _check),
        "schema": ("print the JSON schema of a kind of file, for editors", _schema),
        "sweep": ("evaluate many designs of model, scheme and chip", _sweep),
        "sweep export": ("write a sweep's points as CSV or Parquet", _sweep_export),
        "sweep report": ("show a sweep's front, and write its page", _sweep_report),
        "corpus": ("let speech synthesizers say the commands of a recogniser", _corpus),
        "study": ("make a study anew: its figures, plots and text", _study),
        "train": ("train a recogniser of spoken commands (needs PyTorch)", _train),
        "completion": ("print the completion script of a shell", _completion),
    }


# ------------------------------------------------------------------------------ the commands

_INSPECT_HELP = "a workload (file or name), an ONNX file, a program (.npz) or assembly text (.azs)"
_CODECS_HELP = (
    "an ONNX, npz or safetensors file, whose floats are pruned and quantized and whose integers "
    "are codes, or a workload, whose scheme says how unless --bits or --sparsity do"
)
_SWEEP_HELP = "a sweep file, or a name of: azsim list sweeps"
_RUN_HELP = f"{WORKLOAD_HELP}; or a program: assembly text (.azs) or a program file (.npz)"


def _run(parser: argparse.ArgumentParser) -> None:
    options.add_workload(parser, chip=True, what=_RUN_HELP)
    options.add_data(parser)
    options.add_output(parser, "folder of the results, replaced as a whole", DIRECTORY)
    parser.add_argument(
        "--verify", action="store_true", help="compare with the reference evaluator"
    )
    parser.add_argument(
        "--explain",
        action="store_true",
        help="say why weights are pinned or streamed, what limits each layer and what would help",
    )
    options.add_print_after(parser)
    options.add_exact_timing(parser)
    options.add_json(parser, "print the summary as JSON and nothing else")


def _verify(parser: argparse.ArgumentParser) -> None:
    options.add_workload(parser, chip=True)
    options.add_exact_timing(parser)
    options.add_output(parser, "also write the results there", DIRECTORY)
    options.add_json(parser, "print the summary and the comparison as JSON and nothing else")


def _compile(parser: argparse.ArgumentParser) -> None:
    options.add_workload(parser, chip=True)
    options.add_print_after(parser)
    options.add_json(parser, "print the tables as JSON and nothing else")


def _inspect(parser: argparse.ArgumentParser) -> None:
    complete(parser.add_argument("file", metavar="FILE", help=_INSPECT_HELP), WORKLOAD)
    options.add_sets(parser)
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="INPUT=1x576",
        help="shape of an ONNX file's input (default: symbolic lengths are 1)",
    )
    options.add_json(parser, "print the tables as JSON")


def _compare(parser: argparse.ArgumentParser) -> None:
    for name in ("before", "after"):
        action = parser.add_argument(
            name,
            type=Path,
            metavar=name.upper(),
            help="a run's folder, or its summary.json",
        )
        complete(action, DIRECTORY)
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="PERCENT",
        help="by which a cost may grow without a failure (default: 0); bits may not differ",
    )
    options.add_json(parser, "print what differs as JSON and nothing else")


def _report(parser: argparse.ArgumentParser) -> None:
    action = parser.add_argument(
        "directory", type=Path, metavar="DIR", help="a folder that azsim run wrote"
    )
    complete(action, DIRECTORY)


def _codecs(parser: argparse.ArgumentParser) -> None:
    complete(parser.add_argument("file", metavar="FILE", help=_CODECS_HELP), WORKLOAD)
    parser.add_argument(
        "--bits", type=int, metavar="B", help="of a code, 2 to 8 (default: 8, or the workload's)"
    )
    parser.add_argument(
        "--sparsity",
        type=float,
        metavar="S",
        help="share of the weights pruned in each tensor (default: 0, or the workload's)",
    )
    parser.add_argument(
        "--tensor",
        action="extend",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="only these tensors; with *, ? and [...]",
    )
    parser.add_argument(
        "--codec",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME",
        help="only these codecs; NAME+palette and NAME+PARAMETER=INTEGER set parameters",
    )
    options.add_hardware(parser, "the workload's, or az1")
    options.add_sets(parser)
    options.add_json(parser, "print one object a tensor and codec as JSON and nothing else")
    csv = parser.add_argument("--csv", type=Path, metavar="FILE", help="also write a table there")
    complete(csv, FILE)


def _export(parser: argparse.ArgumentParser) -> None:
    options.add_workload(parser, chip=False)
    options.add_output(parser, ".npz of the weights, or the whole .onnx model", FILE, required=True)


def _list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", metavar="KIND", choices=_LISTS, help=", ".join(_LISTS))
    options.add_json(parser, "print the table as JSON")


def _asm(parser: argparse.ArgumentParser) -> None:
    options.add_workload(parser, chip=True, what="assembly text (.azs), or a workload")
    options.add_output(parser, "program file (.npz)", FILE, required=True)
    options.add_data(parser)
    dram = parser.add_argument(
        "--dram", type=Path, metavar="FILE", help="take the DRAM image of this program file"
    )
    complete(dram, FILE)


def _disasm(parser: argparse.ArgumentParser) -> None:
    options.add_workload(parser, chip=True, what="a program file (.npz), or a workload")
    options.add_output(parser, "file of the text (default: print it)", FILE)
    parser.add_argument("--numbered", action="store_true", help="number the instructions")


def _check(parser: argparse.ArgumentParser) -> None:
    options.add_workload(
        parser, chip=True, what="a program file (.npz), assembly text (.azs) or a workload"
    )
    parser.add_argument(
        "--limit", type=int, default=20, metavar="N", help="findings shown a check (default: 20)"
    )
    parser.add_argument("--strict", action="store_true", help="exit 1 also for what is not proved")
    options.add_json(parser, "print all findings as JSON and nothing else")


def _schema(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", metavar="KIND", choices=_SCHEMAS, help=", ".join(_SCHEMAS))


def _study(parser: argparse.ArgumentParser) -> None:
    complete(parser.add_argument("name", metavar="NAME", help="see: azsim list studies"), STUDY)
    anew = parser.add_argument(
        "--anew",
        type=Path,
        metavar="DIR",
        help="accuracy_vs_cost: first make the corpus and train all models, in DIR, which takes "
        "hours; what is there already is not made again",
    )
    complete(anew, DIRECTORY)
    options.add_output(parser, "folder of the study, replaced as a whole", DIRECTORY)


def _completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", metavar="SHELL", choices=_SHELLS, help=", ".join(_SHELLS))


def _sweep(parser: argparse.ArgumentParser) -> None:
    complete(parser.add_argument("file", metavar="FILE", help=_SWEEP_HELP), SWEEP)
    options.add_output(
        parser, "folder of results.sqlite; what it holds is not done again", DIRECTORY
    )
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
    options.add_sets(parser)
    options.add_json(parser, "print the result as JSON and nothing else")


def _sweep_directory(parser: argparse.ArgumentParser) -> None:
    directory = parser.add_argument(
        "directory", type=Path, metavar="DIR", help="folder of a sweep, which may be running"
    )
    complete(directory, DIRECTORY)


def _sweep_export(parser: argparse.ArgumentParser) -> None:
    _sweep_directory(parser)
    for kind in ("csv", "parquet"):
        file = parser.add_argument(f"--{kind}", type=Path, metavar="FILE", help="written there")
        complete(file, FILE)
    parser.add_argument(
        "--every-figure", action="store_true", help="also all other numbers of each point's summary"
    )


def _sweep_report(parser: argparse.ArgumentParser) -> None:
    _sweep_directory(parser)
    options.add_output(parser, "file of the page (default: DIR/report.html)", FILE)
    parser.add_argument("--no-page", action="store_true", help="print the tables alone")
    options.add_json(parser, "print what was found as JSON, write no page")


def _train(parser: argparse.ArgumentParser) -> None:
    recipe = parser.add_argument(
        "recipe",
        metavar="RECIPE",
        help="a recipe file, a name of: azsim list recipes, or all: "
        "every model of the study accuracy_vs_cost",
    )
    complete(recipe, FILE)
    corpus = parser.add_argument(
        "--corpus", type=Path, metavar="DIR", required=True, help="what azsim corpus made"
    )
    complete(corpus, DIRECTORY)
    start = parser.add_argument(
        "--start", type=Path, metavar="FILE", help="weights to begin with (default: the recipe's)"
    )
    complete(start, FILE)
    teacher = parser.add_argument(
        "--teacher", type=Path, metavar="FILE", help="weights to learn from (default: the recipe's)"
    )
    complete(teacher, FILE)
    parser.add_argument(
        "--only", default="*", metavar="PATTERN", help="with all: models whose names fit"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="with all: processes")
    parser.add_argument(
        "--resume", action="store_true", help="go on from the checkpoint in the output folder"
    )
    options.add_sets(parser, "recipe.seed=1")
    options.add_output(parser, "folder of weights, history and checkpoint", DIRECTORY)


def _corpus(parser: argparse.ArgumentParser) -> None:
    options.add_output(
        parser, "folder of the corpus, replaced as a whole", DIRECTORY, required=True
    )
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
