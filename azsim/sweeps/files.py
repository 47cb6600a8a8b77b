"""The files that a sweep names, read once, and what they say to overrides.

The real loaders are asked, so that an error is what ``azsim run --set`` would say.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from azsim.compression.scheme import find_problems
from azsim.config import Document, validate
from azsim.config.document import dotted
from azsim.config.overrides import apply_overrides
from azsim.errors import ConfigError, unknown
from azsim.frontend.builder_file import file_type
from azsim.frontend.workload import Workload, WorkloadText, read_workload, workload_names
from azsim.hardware import Hardware, hardware_of, preset_names, read_hardware
from azsim.resources import DEFAULT_HARDWARE
from azsim.sweeps.point import scheme_override
from azsim.sweeps.space import Bases

__all__ = ["Files", "about"]


class Files:
    """The workload under each whole scheme, and each whole chip.

    Attributes
    ----------
    folder : Path
        Of the sweep; relative paths start there.
    workload : WorkloadText or None
        As its file has it; None where it could not be read.
    workloads : dict of str or None to WorkloadText
        By the value of a scheme axis; None without one.
    chips : dict of str or None to Document
        By the value of a hardware axis; None without one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workload: WorkloadText | None = None
        self.workloads: dict[str | None, WorkloadText] = {}
        self.chips: dict[str | None, Document] = {}

    # Each `read_...` returns what is wrong with the file.

    def read_workload(self, reference: str) -> tuple[str, ...]:
        """Read the workload."""
        own = reference in workload_names()
        path = self.folder / reference
        if not own and not path.is_file():
            return (f"{unknown('workload', reference, workload_names())}, or a file beside it",)
        try:
            self.workload = self.workloads[None] = read_workload(reference if own else path)
        except ConfigError as error:
            return error.problems
        return _workload_problems(self.workload, (), whole=False)

    def read_chip(self, reference: str | None) -> tuple[str, ...]:
        """Read the chip of all points; the workload's own unless one is named."""
        folder = self.folder
        if reference is None and self.workload is not None:
            data, folder = self.workload.document.data, self.workload.path.parent
            named = data.get("hardware") if isinstance(data, Mapping) else None
            reference = named if isinstance(named, str) else None
        return self._read_chip(None, reference or DEFAULT_HARDWARE, folder)

    def read_chip_of(self, value: str) -> tuple[str, ...]:
        """Read a whole chip of an axis."""
        return self._read_chip(value, value, self.folder)

    def _read_chip(self, key: str | None, reference: str, folder: Path) -> tuple[str, ...]:
        own = reference in preset_names()
        if not own and not (folder / reference).is_file():
            return (f"{unknown('hardware', reference, preset_names())}, or a file beside it",)
        try:
            self.chips[key] = read_hardware(reference if own else folder / reference)
        except ConfigError as error:
            return error.problems
        return _chip_problems(self.chips[key], (), whole=False)

    def read_scheme_of(self, value: str) -> tuple[str, ...]:
        """Read a whole scheme of an axis."""
        if self.workload is None:
            return ()
        text = scheme_override(value, self.folder)
        self.workloads[value] = self.workload.changed((text,))
        problems = _workload_problems(self.workloads[value], (), whole=False)
        return tuple(about(text, problems)) or problems

    def problems(self, texts: Sequence[str]) -> tuple[str, ...]:
        """Return what is wrong with overrides by their types, on every workload or chip there is.

        Rules across keys are not asked, as other overrides may mend them.
        """
        own, chip = _sorted(texts)
        found: tuple[str, ...] = ()
        if own:
            workloads = self.workloads.values()
            found += _if_all(_workload_problems(text, own, whole=False) for text in workloads)
        if chip:
            chips = self.chips.values()
            found += _if_all(_chip_problems(document, chip, whole=False) for document in chips)
        return found

    def whole_problems(
        self, scheme: str | None, chip: str | None, texts: Sequence[str]
    ) -> tuple[str, ...]:
        """Return what is wrong with one workload and one chip, by every rule."""
        own, keys = _sorted(texts)
        return (
            *_workload_problems(self.workloads[scheme], own, whole=True),
            *_chip_problems(self.chips[chip], keys, whole=True),
        )

    def bases(self) -> Bases:
        """Return what points are made of."""
        return Bases(self.workloads, self.chips)

    def hashes(self, changes: Iterable[Sequence[str]], values: Iterable[object]) -> dict[str, str]:
        """Return a hash of what each file says, comments aside, and of files that workloads name.

        Parameters
        ----------
        changes : iterable of sequences of str
            Overrides that hold together for some points.
        values : iterable
            Those of axes, which may name files too.
        """
        contents = {("workload", key): text.document for key, text in self.workloads.items()}
        contents |= {("hardware", key): document for key, document in self.chips.items()}
        return {
            f"{kind} {key}" if key else kind: hashlib.sha256(
                json.dumps(document.data, sort_keys=True).encode()
            ).hexdigest()
            for (kind, key), document in contents.items()
        } | self._named_hashes(changes, values)

    def _named_hashes(
        self, changes: Iterable[Sequence[str]], values: Iterable[object]
    ) -> dict[str, str]:
        """Hash models, inputs and labels: with other contents, figures are other ones."""
        if self.workload is None:
            return {}
        said = [
            text.changed(_sorted(overrides)[0]).document.data
            for text in self.workloads.values()
            for overrides in changes
        ]
        found = {}
        for name in sorted({*_texts([*said, *values])}):
            path = self.workload.path.parent / name
            with contextlib.suppress(OSError, ValueError):  # no path, or one that a run refuses
                if path.is_file():
                    found[f"file {name}"] = _content_hash(path)
        return found


def _content_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _texts(value: object) -> Iterator[str]:
    """Every text of a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for entry in value.values() for text in _texts(entry))
    elif isinstance(value, Sequence):
        yield from (text for entry in value for text in _texts(entry))


def about(text: str, problems: Iterable[str]) -> list[str]:
    """Return those problems that are an override's, with its root in the place of its text."""
    start, root = f"--set {text}: ", text.partition(".")[0]
    found = [sentence.removeprefix(start) for sentence in problems if sentence.startswith(start)]
    return [f"{root}{one[1:]}" if one.startswith("$") else one for one in found]


def _sorted(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    return (
        [text for text in texts if text.startswith("workload.")],
        [text for text in texts if text.startswith("hardware.")],
    )


def _if_all(asked: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the first answer, but nothing if any is nothing."""
    found = list(asked)
    return found[0] if found and all(found) else ()


def _workload_problems(
    text: WorkloadText, overrides: Sequence[str], *, whole: bool
) -> tuple[str, ...]:
    changed = text.changed(overrides)
    try:
        if whole:
            _check_scheme(changed.load())
        else:
            validate(changed.document, file_type(changed.document.data))
    except ConfigError as error:
        return error.problems
    return ()


def _check_scheme(workload: Workload) -> None:
    """Find what only shows where a scheme meets a matrix; with rules it depends on which."""
    scheme = workload.compression
    if not scheme.rules:
        found = find_problems(scheme, ("",))
        sentences = [f"{dotted(('compression', *path))}: {one}" for path, one in found]
        if sentences:
            raise workload.located(ConfigError(sentences))


def _chip_problems(chip: Document, overrides: Sequence[str], *, whole: bool) -> tuple[str, ...]:
    try:
        if whole:
            hardware_of(chip, overrides)
        else:
            changed = chip.copy()
            apply_overrides(changed, overrides, "hardware")
            validate(changed, Hardware)
    except ConfigError as error:
        return error.problems
    return ()
