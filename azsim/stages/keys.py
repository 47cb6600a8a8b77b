"""Keys: what each stage of a run reads, as one hash, found without doing the stage.

A key holds the values of the workload's sections and of the chip's keys that the stage looks at,
the content of the files that they name, the keys of the stages before it, and the version of the
stage's code (`azsim.code_version`).  Where files lie and how values were given, by a file or
by overrides, is in none.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from azsim.code_version import code_version
from azsim.frontend.workload import Workload
from azsim.frontend.workload_file import GraphModel
from azsim.frontend.workload_inputs import (
    input_files,
    label_files,
    onnx_path,
    units_path,
    weights_path,
)
from azsim.hardware.description import Hardware

__all__ = ["StageKeys", "content_key", "file_digest"]


@dataclass(frozen=True)
class StageKeys:
    """Keys of one workload, compiled for one chip and run on another.

    Attributes
    ----------
    workload : Workload
    planned : Hardware
        What the compiler plans with.
    hardware : Hardware
        What the run is timed on; its structural keys are those of `planned`.
    """

    workload: Workload
    planned: Hardware
    hardware: Hardware

    @functools.cached_property
    def model(self) -> str:
        """The graph with its float weights."""
        workload = self.workload
        stream = workload.stream and replace(workload.stream, arrival="asap")
        paths = filter(None, (onnx_path(workload), weights_path(workload)))
        files = [file_digest(path) for path in (*paths, *_inline_files(workload))]
        return content_key(code_version("azsim.stages.model"), workload.model, stream, files)

    @functools.cached_property
    def inputs(self) -> str:
        """The arrays that the model is run on."""
        files = [file_digest(path) for path in input_files(self.workload, self.workload.input)]
        code = code_version("azsim.frontend.workload_inputs")
        return content_key(code, self.model, self.workload.input, files)

    @functools.cached_property
    def calibration(self) -> str:
        """Statistics of the activations."""
        spec = self.workload.calibration
        files = [] if spec is None else map(file_digest, input_files(self.workload, spec))
        return content_key(code_version("azsim.stages.prepare"), self.model, spec, list(files))

    @functools.cached_property
    def codes(self) -> str:
        """What the codes of every weight depend on, besides the weight and its rule."""
        return content_key(code_version("azsim.compression.compress"), self.model)

    @functools.cached_property
    def reference(self) -> str:
        """Outputs of the float model."""
        return content_key(code_version("azsim.evaluate"), self.model, self.inputs)

    @functools.cached_property
    def prepared(self) -> str:
        """The compressed graph and its frames."""
        return content_key(
            code_version("azsim.stages.prepare"),
            self.inputs,
            self.calibration,
            self.workload.compression,
            self.workload.stream,
        )

    @functools.cached_property
    def program(self) -> str:
        """Program and image."""
        return content_key(
            code_version("azsim.compiler.compile"),
            code_version("azsim.sim.execute"),
            self.prepared,
            self.workload.name,
            replace(self.planned, name="", source=""),
        )

    @property
    def execution(self) -> str:
        """What the program does; of the chip it looks at what the program was made for."""
        return self.program

    @functools.cached_property
    def accuracy(self) -> str:
        """How far outputs are from the float model's."""
        return content_key(code_version("azsim.stages.check"), self.execution)

    @functools.cached_property
    def run(self) -> str:
        """All figures of a run."""
        chip = replace(self.hardware, source="")
        labels = [file_digest(path) for path in label_files(self.workload).values()]
        units = units_path(self.workload)
        code = code_version("azsim.pipeline")
        return content_key(
            code,
            self.program,
            chip,
            self.workload.decisions,
            labels,
            self.workload.transcript,
            units and file_digest(units),
        )


def content_key(*values: object) -> str:
    """Hash of values: dataclasses, mappings, sequences, arrays, paths' content left out.

    Two values have the same hash if and only if they are equal and of the same kinds, chance aside;
    the order of a mapping counts, as rules and axes have one.
    """
    digest = hashlib.blake2b(digest_size=20)
    for value in values:
        for part in _parts(value):
            digest.update(part)
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    if is_dataclass(value) and not isinstance(value, type):
        yield f"<{type(value).__name__}".encode()
        for entry in fields(value):
            yield f" {entry.name}=".encode()
            yield from _parts(getattr(value, entry.name))
        yield b">"
    elif isinstance(value, np.ndarray):
        yield f"array {value.dtype.str} {value.shape}\0".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, Mapping):
        yield f"{{{len(value)}:".encode()
        for key, inner in value.items():
            yield from _parts(key)
            yield from _parts(inner)
    elif isinstance(value, Set):
        yield from _parts(sorted(value))
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        yield f"[{len(value)}:".encode()
        for inner in value:
            yield from _parts(inner)
    elif value is None or isinstance(value, str | bytes | bool | int | float):
        yield f"{type(value).__name__} {value!r}\0".encode()
    else:
        raise TypeError(f"no key for {type(value).__name__}")


def file_digest(path: Path) -> str:
    """Return sha256 of a file; not read again while its size and time of change stay."""
    found = path.stat()
    return _digest_of(path, found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=1024)
def _digest_of(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _inline_files(workload: Workload) -> list[Path]:
    """Files that a graph written inline names."""
    if not isinstance(workload.model, GraphModel):
        return []
    found = {workload.folder / name for name in _npz_names(workload.model.graph)}
    return sorted(path for path in found if path.is_file())


def _npz_names(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("npz"), str):
            yield value["npz"]
        for inner in value.values():
            yield from _npz_names(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _npz_names(inner)
