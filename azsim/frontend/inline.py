"""Graphs written inline in a workload's YAML, with ONNX's operators and names.

::

    graph:
      inputs: {x: {shape: [1, 16]}}
      initializers:
        w: {shape: [16, 8], random: {seed: 0, scale: 0.1}}
        b: {values: [0, 0, 0, 0, 0, 0, 0, 1]}
        shape: {values: [2, 4], dtype: int64}
        table: {npz: weights.npz, key: table}
        sparse: {shape: [8, 4], random: {seed: 0, pattern: random, weight_density: 0.09}}
      nodes:
        - {op: Gemm, name: gemm, inputs: [x, w, b], outputs: [y]}
        - {op: Reshape, inputs: [y, shape], outputs: [z]}
      outputs: [z]

Random values are ``scale`` times numpy's ``default_rng(seed).standard_normal`` in float32; with
``weight_density`` they are those of `azsim.inputs.patterns.sparse_weights`, of which about that
share is not zero.  The one pattern so far is ``random``: each on its own.
Attributes are numbers, texts or lists; a node without a name is called ``<op>_<index>``.
"""

from __future__ import annotations

import difflib
import math
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from azsim.config.document import DocumentPath, dotted, show
from azsim.errors import ConfigError
from azsim.inputs.patterns import sparse_weights
from azsim.ir import Attribute, Graph, Node, TensorType
from azsim.ops.build import build_graph, operators

__all__ = ["build_inline"]

_MAX_BYTES = 1 << 31
_DTYPES = ("float32", "int64")
_SOURCES = ("random", "values", "npz")


def build_inline(
    mapping: Any,
    where: str,
    *,
    name: str = "graph",
    folder: Path | None = None,
    root: DocumentPath = ("model", "graph"),
    place: Callable[[DocumentPath], Any] | None = None,
) -> Graph:
    """Build a graph from plain YAML data.

    Parameters
    ----------
    mapping : mapping
        The value of the key ``graph``.
    where : str
        File that errors name.
    name : str
        Of the graph.
    folder : Path, optional
        What the paths of ``npz`` files are relative to.
    root : path
        Of the mapping in its document.
    place : callable, optional
        From a path to ``file:line:column``, such as `azsim.config.Document.place`.

    Raises
    ------
    ConfigError
        If anything is written wrongly; all problems at once.
    InputError, UnsupportedError
        As `azsim.ops.build.build_graph`.
    """
    reader = _Reader(where, root, place, folder or Path())
    if reader.keys(mapping, (), ("inputs", "initializers", "nodes", "outputs"), ("initializers",)):
        inputs = reader.inputs(mapping["inputs"])
        nodes = reader.nodes(mapping["nodes"])
        initializers = reader.initializers(mapping.get("initializers", {}), inputs)
        outputs = reader.names(mapping["outputs"], ("outputs",))
        reader.connections({**inputs, **initializers}, nodes, outputs)
        if not reader.problems:
            arrays = {key: make() for key, make in initializers.items()}
            if not reader.problems:  # reading a file may have added some
                places = {node.name: reader.start(("nodes", i)) for i, node in enumerate(nodes)}
                return build_graph(name, inputs, arrays, nodes, outputs, where, places)
    raise ConfigError(reader.problems)


class _Reader:
    """Reads the parts of the mapping and collects what is wrong with them."""

    def __init__(
        self,
        where: str,
        root: DocumentPath,
        place: Callable[[DocumentPath], Any] | None,
        folder: Path,
    ) -> None:
        self._problems: list[tuple[Any, str]] = []
        self._where = where
        self._root = root
        self._place = place
        self._folder = folder
        self._num_bytes = 0

    def report(self, path: DocumentPath, sentence: str) -> None:
        path = (*self._root, *path)
        where = self._place(path) if self._place else self._where
        self._problems.append((where, f"{where}: {dotted(path)}: {sentence}"))

    def start(self, path: DocumentPath) -> str:
        """What a sentence about the path begins with."""
        path = (*self._root, *path)
        return f"{self._place(path) if self._place else self._where}: {dotted(path)}"

    @property
    def problems(self) -> list[str]:
        """What is wrong, in the order of the file."""
        return [text for _, text in sorted(self._problems, key=lambda problem: problem[0])]

    def unknown(self, path: DocumentPath, what: str, found: str, known: Collection[str]) -> None:
        close = difflib.get_close_matches(found, known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(known) or 'none'}"
        self.report(path, f"unknown {what} {found!r}, {hint}")

    def mapping(self, value: Any, path: DocumentPath) -> bool:
        if isinstance(value, Mapping):
            return True
        self.report(path, f"wrong type, found {show(value)}, allowed: a mapping")
        return False

    def keys(
        self, value: Any, path: DocumentPath, known: tuple[str, ...], optional: tuple[str, ...]
    ) -> bool:
        """Check a mapping's keys; whether all that have to be there are there."""
        if not self.mapping(value, path):
            return False
        for key in value:
            if key not in known:
                self.unknown((*path, str(key)), "key", str(key), known)
        missing = [key for key in known if key not in optional and key not in value]
        for key in missing:
            self.report(path, f"the key {key!r} is missing")
        return not missing

    def names(self, value: Any, path: DocumentPath) -> tuple[str, ...]:
        if not isinstance(value, list):
            self.report(path, f"wrong type, found {show(value)}, allowed: a list of names")
            return ()
        for index, item in enumerate(value):
            if not isinstance(item, str):
                self.report((*path, index), f"wrong type, found {show(item)}, allowed: a name")
        return tuple(item for item in value if isinstance(item, str))

    def shape(self, value: Any, path: DocumentPath) -> tuple[int, ...] | None:
        if isinstance(value, list) and all(type(n) is int and n > 0 for n in value):
            return tuple(value)
        self.report(path, f"found {show(value)}, allowed: a list of integers above 0")
        return None

    def allocate(self, path: DocumentPath, shape: Iterable[int], item_bytes: int) -> bool:
        """Count the bytes of a tensor before any memory is asked for."""
        num_bytes = math.prod(shape) * item_bytes
        self._num_bytes += num_bytes
        if self._num_bytes <= _MAX_BYTES:
            return True
        self.report(
            path,
            f"too large, found {num_bytes} bytes ({self._num_bytes} so far), "
            f"allowed: {_MAX_BYTES} bytes for the whole graph",
        )
        return False

    def inputs(self, value: Any) -> dict[str, TensorType]:
        types = {}
        for name, entry in value.items() if self.mapping(value, ("inputs",)) else ():
            path = ("inputs", name)
            if self.keys(entry, path, ("shape",), ()):
                shape = self.shape(entry["shape"], (*path, "shape"))
                if shape is not None and self.allocate(path, shape, 4):
                    types[name] = TensorType("float32", shape)
                    continue
            types[name] = TensorType("float32", ())  # known, so that readers find its name
        return types

    # ---- initializers

    def initializers(
        self, value: Any, inputs: Collection[str]
    ) -> dict[str, Callable[[], np.ndarray]]:
        """One function for each array: sizes are summed up before the first one is made."""
        makers = {}
        for name, entry in value.items() if self.mapping(value, ("initializers",)) else ():
            path = ("initializers", name)
            if name in inputs:
                self.report(path, f"{name!r} is the name of an input too")
            makers[name] = self._initializer(entry, path) or (lambda: np.zeros(()))
        return makers

    def _initializer(self, entry: Any, path: DocumentPath) -> Callable[[], np.ndarray] | None:
        known = ("shape", "dtype", "key", *_SOURCES)
        if not self.keys(entry, path, known, known):
            return None
        sources = [key for key in _SOURCES if key in entry]
        if len(sources) != 1:
            found = " and ".join(sources) or "none"
            self.report(path, f"found {found}, allowed: one of {', '.join(_SOURCES)}")
            return None
        dtype = entry.get("dtype", "float32")
        if dtype not in _DTYPES:
            self.report((*path, "dtype"), f"found {show(dtype)}, allowed: {', '.join(_DTYPES)}")
            return None
        shape = self.shape(entry["shape"], (*path, "shape")) if "shape" in entry else None
        if "shape" in entry and shape is None:
            return None
        if sources[0] == "random":
            return self._random(entry, path, shape)
        if sources[0] == "values":
            return self._values(entry["values"], (*path, "values"), shape, dtype)
        return self._npz(entry, path, shape)

    def _random(
        self, entry: Mapping[str, Any], path: DocumentPath, shape: tuple[int, ...] | None
    ) -> Callable[[], np.ndarray] | None:
        if shape is None:
            self.report(path, "the key 'shape' is missing")
            return None
        if entry.get("dtype", "float32") != "float32":
            self.report((*path, "dtype"), "random values are float32")
            return None
        path = (*path, "random")
        options = entry["random"]
        known = ("seed", "scale", "pattern", "weight_density")
        if not self.keys(options, path, known, known[1:]):
            return None
        density = self._density(options, path)
        if density == 0:
            return None
        seed, scale = options["seed"], options.get("scale", 1.0)
        if type(seed) is not int or seed < 0:
            self.report((*path, "seed"), f"found {show(seed)}, allowed: an integer from 0 on")
            return None
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not scale > 0:
            self.report((*path, "scale"), f"found {show(scale)}, allowed: a number above 0")
            return None
        if not self.allocate(path[:-1], shape, 4):
            return None

        def make() -> np.ndarray:
            if density is not None:
                return sparse_weights(shape, density, seed, scale)
            values = np.random.default_rng(seed).standard_normal(shape, np.float32)
            return values * np.float32(scale)

        return make

    def _density(self, options: Mapping[str, Any], path: DocumentPath) -> float | None:
        """Share of non-zero weights, None where there is no pattern; 0 for what is wrong."""
        given = [key for key in ("pattern", "weight_density") if key in options]
        if not given:
            return None
        if len(given) == 1:
            missing = {"pattern": "weight_density", "weight_density": "pattern"}[given[0]]
            self.report(path, f"the key {missing!r} is missing, as {given[0]!r} is there")
            return 0
        pattern, density = options["pattern"], options["weight_density"]
        is_number = isinstance(density, int | float) and not isinstance(density, bool)
        if pattern != "random":
            self.report((*path, "pattern"), f"found {show(pattern)}, allowed: random")
        if not is_number or not 0 < density <= 1:
            sentence = f"found {show(density)}, allowed: a number above 0, up to 1"
            self.report((*path, "weight_density"), sentence)
            return 0
        return density if pattern == "random" else 0

    def _values(
        self, values: Any, path: DocumentPath, shape: tuple[int, ...] | None, dtype: str
    ) -> Callable[[], np.ndarray] | None:
        allowed = "integers" if dtype == "int64" else "numbers"
        try:
            found = np.asarray(values)
        except ValueError:
            self.report(path, f"rows differ in length, allowed: nested lists of {allowed}")
            return None
        if found.size and found.dtype.kind not in ("i" if dtype == "int64" else "if"):
            self.report(path, f"found {show(values)} of other values, allowed: {allowed}")
            return None
        if shape is not None and found.size != math.prod(shape):
            self.report(path, f"found {found.size} values, allowed: {math.prod(shape)} (the shape)")
            return None
        if not self.allocate(path[:-1], found.shape, np.dtype(dtype).itemsize):
            return None
        array = found.astype(dtype).reshape(found.shape if shape is None else shape)
        return lambda: array

    def _npz(
        self, entry: Mapping[str, Any], path: DocumentPath, shape: tuple[int, ...] | None
    ) -> Callable[[], np.ndarray] | None:
        file, key = entry["npz"], entry.get("key")
        if not isinstance(file, str) or not isinstance(key, str):
            self.report(path, "npz needs a file name, and key the name of an array in it")
            return None
        target, here = self._folder / file, (*path, "npz")
        try:
            with zipfile.ZipFile(target) as archive:
                members = {item.filename: item.file_size for item in archive.infolist()}
        except FileNotFoundError:
            self.report(here, f"{target}: no such file")
            return None
        except (OSError, zipfile.BadZipFile):
            self.report(here, f"{target}: not an npz file")
            return None
        if f"{key}.npy" not in members:
            arrays = [member.removesuffix(".npy") for member in members]
            self.unknown((*path, "key"), "array", key, arrays)
            return None
        if not self.allocate(path, (members[f"{key}.npy"],), 1):
            return None
        return lambda: self._load(target, key, here, shape, entry.get("dtype", "float32"))

    def _load(
        self, file: Path, key: str, path: DocumentPath, shape: tuple[int, ...] | None, dtype: str
    ) -> np.ndarray:
        try:
            with np.load(file, allow_pickle=False) as archive:
                array = archive[key]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            self.report(path, f"{file}: {key} cannot be read: {error}")
            return np.zeros(())
        if array.dtype != dtype or (shape is not None and array.shape != shape):
            wanted = dtype if shape is None else str(TensorType(dtype, shape))
            found = TensorType(array.dtype.name, array.shape)
            self.report(path, f"{file}: {key} is {found}, allowed: {wanted}")
        return array

    # ---- nodes

    def nodes(self, value: Any) -> list[Node]:
        if not isinstance(value, list):
            self.report(("nodes",), f"wrong type, found {show(value)}, allowed: a list of nodes")
            return []
        nodes, first = [], {}
        for index, entry in enumerate(value):
            node = self._node(entry, index)
            nodes.append(node)
            if node.name in first:
                path = ("nodes", index, "name")
                self.report(path, f"{node.name!r} is the name of nodes[{first[node.name]}] too")
            first.setdefault(node.name, index)
        return nodes

    def _node(self, entry: Any, index: int) -> Node:
        path = ("nodes", index)
        known = ("op", "name", "inputs", "outputs", "attributes")
        self.keys(entry, path, known, ("name", "inputs", "attributes"))
        if not isinstance(entry, Mapping):
            return Node(f"nodes[{index}]", "", (), ())
        op = entry.get("op", "")
        if "op" in entry and op not in operators():
            self.unknown((*path, "op"), "operator", str(op), operators())
        name = entry.get("name", f"{op or 'node'}_{index}")
        if not isinstance(name, str):
            self.report((*path, "name"), f"wrong type, found {show(name)}, allowed: a name")
        return Node(
            str(name),
            str(op),
            self.names(entry.get("inputs", []), (*path, "inputs")),
            self.names(entry.get("outputs", []), (*path, "outputs")),
            self._attributes(entry.get("attributes", {}), (*path, "attributes"), op),
        )

    def _attributes(self, value: Any, path: DocumentPath, op: Any) -> dict[str, Attribute]:
        attributes = {}
        known = operators()[op].ATTRIBUTES if op in operators() else None
        for name, item in value.items() if self.mapping(value, path) else ():
            if known is not None and name not in known:
                self.unknown((*path, name), "attribute", name, known)
            items = item if isinstance(item, list) else [item]
            kinds = {type(element) for element in items}
            if kinds <= {int, float} or kinds == {str}:
                attributes[name] = tuple(items) if isinstance(item, list) else item
            else:
                sentence = "allowed: a number, a text, or a list of one kind of these"
                self.report((*path, name), f"found {show(item)}, {sentence}")
        return attributes

    def connections(
        self, sources: Collection[str], nodes: list[Node], outputs: tuple[str, ...]
    ) -> None:
        """Check that every tensor is made once, and made at all."""
        made = dict.fromkeys(sources, "an input or initializer")
        for index, node in enumerate(nodes):
            for position, tensor in enumerate(node.outputs):
                if tensor and tensor in made:
                    path = ("nodes", index, "outputs", position)
                    self.report(path, f"{tensor!r} is made by {made[tensor]} already")
                made.setdefault(tensor, f"nodes[{index}]")
        for index, node in enumerate(nodes):
            for position, tensor in enumerate(node.inputs):
                if tensor and tensor not in made:
                    self.unknown(("nodes", index, "inputs", position), "tensor", tensor, made)
        for position, tensor in enumerate(outputs):
            if tensor not in made:
                self.unknown(("outputs", position), "tensor", tensor, made)
