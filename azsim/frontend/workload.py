"""Workloads: a file that says which model, on which input, compressed how, on which chip."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from azsim.config import Document, DocumentPath, read_document, validate
from azsim.config.document import Place
from azsim.config.overrides import apply_overrides
from azsim.errors import ConfigError, unknown
from azsim.frontend.builder_file import file_type
from azsim.frontend.scheme_files import read_scheme
from azsim.frontend.workload_file import WorkloadFile, find_conflicts
from azsim.hardware import Hardware, preset_names
from azsim.resources import DEFAULT_HARDWARE, workloads_directory

__all__ = [
    "Source",
    "Workload",
    "WorkloadText",
    "load_workload",
    "named_hardware",
    "read_workload",
    "workload_names",
]

_SUFFIXES = (".yaml", ".yml")
_WITH_HARDWARE = "name a workload, and this with --hardware"
_DOTTED = re.compile(r"\$((?:\.[^.\[\]: ]+|\[\d+])*): ")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)]")


@dataclass(frozen=True)
class Source:
    """Where a workload was read.

    Attributes
    ----------
    path : Path
    sha256 : str
        Of the file.
    overrides : tuple of str
    document : Document
        Knows the place of every value.
    schemes : mapping of str to str
        sha256 of the scheme file that was read, by its name.
    """

    path: Path
    sha256: str
    overrides: tuple[str, ...]
    document: Document = field(compare=False, repr=False)
    schemes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Workload(WorkloadFile):
    """A workload file and where it was read."""

    source: Source

    @property
    def folder(self) -> Path:
        """Where relative paths start."""
        return self.source.path.parent

    def place(self, path: DocumentPath) -> Place:
        """Where a value was written: file, line and column, or the override that gave it."""
        return self.source.document.place(path)

    def located(self, error: ConfigError) -> ConfigError:
        """Put the place in front of each sentence that starts with a ``$.path``.

        For problems that are found only once the graph is known, such as a rule that matches
        nothing.
        """
        return ConfigError([self._located(sentence) for sentence in error.problems])

    def _located(self, sentence: str) -> str:
        match = _DOTTED.match(sentence)
        if match is None:
            return sentence
        steps = _STEP.findall(match[1])
        path = tuple(int(index) if index else key for key, index in steps)
        return f"{self.place(path)}: {sentence}"

    @property
    def hardware_reference(self) -> str | Path:
        """Preset name, or path of the hardware file."""
        return _hardware_reference(self.hardware, self.folder)


def workload_names() -> tuple[str, ...]:
    """Names of the workloads that travel with azsim, sorted."""
    return tuple(sorted(path.stem for path in workloads_directory().glob("*.yaml")))


def load_workload(path_or_name: str | Path, overrides: Iterable[str] = ()) -> Workload:
    """Read a workload.

    Parameters
    ----------
    path_or_name : str or path
        A YAML file, or the name of a workload that travels with azsim.
    overrides : iterable of str
        ``compression.default.weights.bits=4``, or the same after ``workload.``; applied one after
        the other, so that ``compression=int4_s50`` may be followed by changes to that scheme.

    Returns
    -------
    Workload

    Raises
    ------
    ConfigError
        With every problem of the file.
    """
    return read_workload(path_or_name).changed(overrides).load()


@dataclass(frozen=True)
class WorkloadText:
    """A workload file that was read and not checked yet, to be loaded with many overrides.

    Attributes
    ----------
    path : Path
    overrides : tuple of str
        Those that were applied.
    document : Document
    schemes : mapping of str to str
        As `Source` has them.
    """

    path: Path
    overrides: tuple[str, ...]
    document: Document = field(repr=False)
    schemes: Mapping[str, str]

    def changed(self, overrides: Iterable[str]) -> WorkloadText:
        """Return a text with overrides applied, one after the other; this one stays as it is."""
        texts = tuple(overrides)
        document, schemes = self.document.copy(), dict(self.schemes)
        for text in texts:
            apply_overrides(document, (text,), "workload")
            schemes |= read_scheme(document, self.path.parent)
        return WorkloadText(self.path, (*self.overrides, *texts), document, schemes)

    def load(self) -> Workload:
        """Check the text; to be called once."""
        document = self.document
        check = functools.partial(find_conflicts, folder=self.path.parent)
        value = validate(document, file_type(document.data), check)
        given = {entry.name: getattr(value, entry.name) for entry in fields(WorkloadFile)}
        source = Source(self.path, document.sha256, self.overrides, document, self.schemes)
        return Workload(**given, source=source)


def read_workload(path_or_name: str | Path) -> WorkloadText:
    """Read a workload's file without checking what it says.

    Raises
    ------
    ConfigError
        If there is no such workload, or its file is not YAML.
    """
    path = _find(path_or_name)
    document = read_document(path)
    if _is_hardware(document):
        raise ConfigError([f"{path}: is a hardware description; {_WITH_HARDWARE}"])
    return WorkloadText(path, (), document, read_scheme(document, path.parent))


def _is_hardware(document: Document) -> bool:
    """Whether a file has nothing of a workload, but something of a chip."""
    keys = set(document.data) if isinstance(document.data, dict) else set()
    own = {entry.name for entry in fields(WorkloadFile)} - {"name"}
    chip = {entry.name for entry in fields(Hardware)} - {"name"}
    return not keys & own and bool(keys & (chip | {"extends"}))


def named_hardware(path_or_name: str | Path, overrides: Iterable[str] = ()) -> str | Path | None:
    """Hardware of a workload, by preset name or path, even where the rest of the file is wrong.

    So what is wrong with either is said at once; None where the file names none that there is.
    """
    try:
        path = _find(path_or_name)
        document = read_document(path)
    except ConfigError:
        return None
    apply_overrides(document, overrides, "workload")
    data = document.data if isinstance(document.data, dict) else {}
    name = data.get("hardware", DEFAULT_HARDWARE)
    if not isinstance(name, str) or not name:
        return None
    reference = _hardware_reference(name, path.parent)
    return reference if isinstance(reference, str) or reference.is_file() else None


def _hardware_reference(name: str, folder: Path) -> str | Path:
    return name if name in preset_names() else folder / name


def _find(path_or_name: str | Path) -> Path:
    text = str(path_or_name)
    if text in workload_names():
        return workloads_directory() / f"{text}.yaml"
    if Path(text).suffix in _SUFFIXES or len(Path(text).parts) > 1:
        return Path(text)
    if Path(text).suffix == ".azs":
        sentence = "is a program written by hand; azsim run, asm and inspect take it"
        raise ConfigError([f"{text}: {sentence}"])
    if text in preset_names():
        raise ConfigError([f"{text!r} is a hardware preset; {_WITH_HARDWARE}"])
    raise ConfigError([unknown("workload", text, workload_names()) + ", or a .yaml file"])
