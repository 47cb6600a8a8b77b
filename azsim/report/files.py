"""Results as files: a run's folder, written whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from azsim.errors import InputError
from azsim.files import umask, write_whole
from azsim.report.comparison import read_document, read_run
from azsim.report.explain import explanation_document
from azsim.report.json_text import json_text
from azsim.report.page import run_page
from azsim.report.page.document import drawing_library
from azsim.report.timeline import trace_document
from azsim.sim.kernel_result import KernelResult
from azsim.sim.result import RunResult

__all__ = [
    "PAGE",
    "check_file_writable",
    "check_writable",
    "foreign_to_study",
    "layers_csv",
    "npz_bytes",
    "replaced_folder",
    "run_document",
    "write_file",
    "write_kernel",
    "write_page",
    "write_run",
]

PAGE = "report.html"
_OF_PAGE = "the page of a run"
_MADE_BY = '<meta name="generator" content="azsim">'
_MARKER = "run.json"
_LAYER_KEYS = (
    "name",
    "cycles",
    "dram_read_bytes",
    "dram_write_bytes",
    "macs",
    "macs_executed",
    "macs_skipped",
    "mac_utilization",
    "ideal_mac_cycles",
    "busiest",
)


# ------------------------------------------------------------------------------------ a run


def write_run(result: RunResult, directory: Path) -> None:
    """Write a run's folder; an earlier run's folder is replaced as a whole.

    With the extra ``report`` it has a page; where that cannot be made, `write_page` says why.

    Parameters
    ----------
    result : RunResult
    directory : Path

    Raises
    ------
    InputError
        If the folder cannot be written, or holds something that azsim did not write.
    """
    contents = {"layers.csv": layers_csv(result).encode(), "outputs.npz": npz_bytes(result.outputs)}
    document = run_document(result)
    _write_with_page(document, result.summary, trace_document(result), contents, directory)


def write_page(directory: Path) -> Path:
    """Make the page of a run anew, out of the other files of its folder.

    Parameters
    ----------
    directory : Path

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        If the folder is not that of a run, or the page cannot be drawn or written.
    """
    if not directory.is_dir():
        what = "is not a folder" if directory.exists() else "no such folder"
        raise InputError(f"{directory}: {what}; a page is made of a folder that azsim run wrote")
    summary = read_run(directory).summary
    document, trace = (read_document(directory / name) for name in ("run.json", "trace.json"))
    library = drawing_library(_OF_PAGE)
    try:
        page = run_page(summary, document, trace, library)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise InputError(
            f"{directory}: summary.json, run.json, trace.json are not as this version of azsim "
            "writes them; run the workload again"
        ) from None
    write_file(directory / PAGE, page.encode())
    return directory / PAGE


def write_kernel(result: KernelResult, directory: Path) -> None:
    """Write the folder of a program's run; otherwise as `write_run`."""
    document = {
        **result.provenance,
        "notes": list(result.notes),
        "clock_hz": result.clock_hz,
    }
    contents = {"outputs.npz": npz_bytes(result.outputs)}
    _write_with_page(document, result.summary, trace_document(result), contents, directory)


def _write_with_page(
    document: Mapping[str, object],
    summary: Mapping[str, object],
    trace: Mapping[str, object],
    contents: Mapping[str, bytes],
    directory: Path,
) -> None:
    """Write what every run has, and a page of it where that can be drawn."""
    library = ""
    with contextlib.suppress(InputError):  # results do not wait for a page
        library = drawing_library(_OF_PAGE)
    files = ["run.json", "summary.json", *contents, "trace.json", *([PAGE] if library else [])]
    head = {"schema_version": 1, "made_by": "azsim", "files": files}
    run_text, summary_text = json_text({**head, **document}), json_text(summary)
    found = {
        "run.json": run_text.encode(),
        "summary.json": summary_text.encode(),
        **contents,
        # Compact, as viewers are its readers: a timeline may have 200,000 events.
        "trace.json": json.dumps(trace, separators=(",", ":"), allow_nan=False).encode(),
    }
    if library:
        page = run_page(json.loads(summary_text), json.loads(run_text), trace, library)
        found[PAGE] = page.encode()
    with replaced_folder(directory) as folder:
        for name, data in found.items():
            write_file(folder / name, data)


def run_document(result: RunResult) -> dict[str, object]:
    """Return ``run.json`` but for its head: where the figures come from, and the longer tables."""
    comparison, explanation = result.comparison, result.explanation
    return {
        **result.provenance,
        "notes": list(result.notes),
        "clock_hz": result.clock_hz,
        "bounds": asdict(result.bounds),
        "weights": [asdict(weight) for weight in result.weights],
        "explanation": explanation and explanation_document(explanation),
        "sram_capacity_bytes": dict(result.sram_capacity_bytes),
        "sram_map": [
            {
                "memory": memory,
                "name": name,
                "start_bytes": start,
                "size_bytes": size,
                "first_instruction": first,
                "last_instruction": last,
            }
            for memory, name, start, size, first, last in result.sram_map
        ],
        "comparison": None
        if comparison is None
        else {
            "bit_exact": comparison.bit_exact,
            "compared": list(comparison.compared),
            "fused": dict(comparison.fused),
            "first_difference": comparison.first_difference,
        },
    }


def layers_csv(result: RunResult) -> str:
    """Return the content of ``layers.csv``: one line a layer."""
    layers = result.statistics.layers
    engines = list(dict.fromkeys(engine for layer in layers for engine in layer.busy_cycles))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    bound_keys = ("bound_cycles", "bound_by", "critical_path_cycles")
    bound_by_engine = [f"bound_{engine}_cycles" for engine in result.bounds.by_engine]
    busy_by_engine = [f"busy_{engine}_cycles" for engine in engines]
    writer.writerow([*_LAYER_KEYS, *bound_keys, *bound_by_engine, *busy_by_engine])
    for layer in layers:
        bounds = result.bounds_of(layer.name)
        own = [getattr(bounds, key) for key in bound_keys]
        busy = [layer.busy_cycles.get(engine, 0) for engine in engines]
        figures = [getattr(layer, key) for key in _LAYER_KEYS]
        writer.writerow([*figures, *own, *bounds.by_engine.values(), *busy])
    return text.getvalue()


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return an ``.npz`` archive, floats as float32; `numpy.load` gives the very names back.

    `numpy.savez` would do, but takes names as keyword arguments and so refuses ``file``.
    """
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                dtype = "<f4" if array.dtype.kind == "f" else array.dtype.newbyteorder("<")
                stored = np.asarray(array, dtype, order="C")
                np.lib.format.write_array(member, stored, allow_pickle=False)
    return data.getvalue()


# ---------------------------------------------------------------------------------- folders

Foreign = Callable[[Path], str | None]
"""Says what speaks against replacing a folder: the rest of a sentence, or None."""


def check_writable(directory: Path, foreign: Foreign | None = None) -> None:
    """Find out before the long work starts whether `write_run` could write there.

    Parameters
    ----------
    directory : Path
        Need not exist.
    foreign : callable, optional
        By default, whether an existing folder is an earlier run's.

    Raises
    ------
    InputError
        One sentence that names the folder and the reason.
    """
    try:
        _check_folder(directory.absolute(), foreign or _foreign_to_run)
    except OSError as error:
        raise InputError(_unwritable(directory, error)) from None


def _check_folder(directory: Path, foreign: Foreign) -> None:
    if directory.is_dir():
        reason = foreign(directory)
        if reason is not None:
            raise InputError(f"{directory}: will not be replaced, {reason}; choose another folder")
        if directory.is_mount() or directory in (Path.cwd(), *Path.cwd().parents):
            raise InputError(
                f"{directory}: cannot be replaced, it is the current folder, above it, or a mount "
                "point; choose a folder inside it"
            )
    elif directory.exists() or directory.is_symlink():
        raise InputError(f"{directory}: is not a folder; choose another name")
    above = directory.parent
    while not above.exists():
        above = above.parent
    if not above.is_dir():
        raise InputError(f"{directory}: cannot be written, {above} is not a folder")
    # What `access` says is not what a network file system does.
    Path(tempfile.mkdtemp(prefix=".azsim-", dir=above)).rmdir()


def _unwritable(directory: Path, error: OSError) -> str:
    return f"{directory}: cannot be written, {error.strerror or error}"


def _foreign_to_run(directory: Path) -> str | None:
    names = sorted(path.name for path in directory.iterdir())
    if not names:
        return None
    if _MARKER not in names:
        return f"it has no {_MARKER} of azsim"
    document = _document(directory / _MARKER)
    written = document.get("files")
    if document.get("made_by") != "azsim" or not isinstance(written, list):
        return f"its {_MARKER} is not azsim's"
    others = [name for name in names if name not in written]
    if PAGE in others and _MADE_BY in (directory / PAGE).read_text("utf-8", "replace"):
        others.remove(PAGE)  # `write_page` made it later
    return f"it holds {others[0]}, which azsim did not write" if others else None


def foreign_to_study(directory: Path) -> str | None:
    """Say what speaks against replacing a folder by a study's, as `check_writable` asks."""
    names = {path.name for path in directory.iterdir()}
    if not names:
        return None
    if not {"README.md", "data.json"} <= names:
        return "it has no README.md and data.json of a study"
    return None if "study" in _document(directory / "data.json") else "its data.json is no study's"


def _document(path: Path) -> dict[str, Any]:
    """Content of a JSON file, nothing where it is none or cannot be read."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


@contextmanager
def replaced_folder(directory: Path, foreign: Foreign | None = None) -> Iterator[Path]:
    """Fill a temporary folder beside `directory` and put it in its place when all went well.

    Parameters
    ----------
    directory : Path
    foreign : callable, optional
        As for `check_writable`.

    Yields
    ------
    Path
        The temporary folder.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    check_writable(directory, foreign)
    # The real folder is replaced, not a link to it.
    directory = directory.resolve()
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    except OSError as error:
        raise InputError(_unwritable(directory, error)) from error
    try:
        temporary.chmod(0o777 & ~umask())
        yield temporary
        try:
            _swap(temporary, directory)
        except OSError as error:
            raise InputError(_unwritable(directory, error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap(new: Path, directory: Path) -> None:
    if not directory.exists():
        new.rename(directory)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{directory.name}-old-", dir=directory.parent))
    try:
        directory.rename(aside / directory.name)
        try:
            new.rename(directory)
        except BaseException:
            (aside / directory.name).rename(directory)
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_file(path: Path, data: bytes) -> None:
    """Write a file; it appears whole or not at all.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    try:
        write_whole(path, data)
    except OSError as error:
        raise InputError(f"{path}: cannot be written, {error.strerror or error}") from error


def check_file_writable(path: Path) -> None:
    """Find out before the long work starts whether `write_file` could write there.

    Raises
    ------
    InputError
        One sentence that names the file and the reason.
    """
    if path.is_dir():
        raise InputError(f"{path}: cannot be written, it is a folder")
    if not path.parent.is_dir():
        raise InputError(f"{path}: cannot be written, there is no folder {path.parent}")
    try:
        Path(tempfile.mkdtemp(prefix=".azsim-", dir=path.parent)).rmdir()
    except OSError as error:
        raise InputError(_unwritable(path, error)) from None
