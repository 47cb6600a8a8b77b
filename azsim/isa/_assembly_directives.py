"""Directives of assembly text: what may follow each, and the data that some declare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from azsim.errors import CodecError, EncodeError
from azsim.isa._assembly_tokens import (
    LineError,
    read_count,
    read_enum,
    read_integer,
    read_period,
    read_positive,
    read_shape,
    read_strides,
    read_switch,
)
from azsim.isa.assembly_data import Data
from azsim.isa.encode import nearest

__all__ = ["DATA_DIRECTIVES", "DIRECTIVES", "Directive", "declared_data"]

DATA_DIRECTIVES = (".input", ".output", ".weight", ".buffer")
_PORT_DTYPES = ("f32", "i32", "i16", "i8", "u8")


def _port_dtype(text: str) -> str:
    if text not in _PORT_DTYPES:
        raise EncodeError(f"got '{text}', allowed are {', '.join(_PORT_DTYPES)}")
    return text


_Readers = Mapping[str, Callable[[str], Any]]


@dataclass(frozen=True)
class Directive:
    """What may follow a directive; `is_named` is None where a name may be left out."""

    is_named: bool | None
    needed: _Readers = field(default_factory=dict)
    optional: _Readers = field(default_factory=dict)
    others: Callable[[str], Any] | None = None
    """Reader of keys that have no reader of their own."""


_PORT = Directive(
    True,
    {"shape": read_shape},
    {
        "dtype": _port_dtype,
        "frames": read_positive,
        "addr": read_count,
        "step": read_positive,
        "axes": read_strides,
    },
)
DIRECTIVES = {
    ".program": Directive(True),
    ".constant": Directive(True, {"value": read_integer}),
    ".stream": Directive(
        False,
        {"frames": read_positive, "period_s": read_period, "paced": read_switch},
        {"together": read_positive},
    ),
    ".input": _PORT,
    ".output": _PORT,
    ".weight": Directive(
        True, {"codec": str, "bits": read_integer, "shape": read_shape}, others=read_integer
    ),
    ".buffer": Directive(
        True,
        {"space": read_enum("space")},
        {"dtype": read_enum("dtype"), "shape": read_shape, "like": str, "addr": read_count},
    ),
    ".views": Directive(False),
    ".layer": Directive(True),
    ".in": Directive(None),
    ".region": Directive(
        True,
        {
            "space": read_enum("space"),
            "start": read_count,
            "size": read_count,
            "dtype": read_enum("dtype"),
            "first": read_integer,
            "last": read_integer,
        },
    ),
    ".tap": Directive(
        True,
        {"index": read_integer, "addr": read_integer, "shape": read_shape, "strides": read_strides},
        {"dtype": _port_dtype, "frame": read_count},
    ),
}


def declared_data(
    directive: str, name: str, values: dict[str, Any], columns: Mapping[str, int], line: int
) -> Data:
    """What a directive declares.

    Raises
    ------
    LineError
        If the assembler has to place it and cannot.
    """

    def problem(key: str, sentence: str) -> LineError:
        return LineError(columns.get(key, columns[""]), f"{directive}: {sentence}")

    kind = directive.removeprefix(".")
    common = {"kind": kind, "name": name, "line": line, "column": columns[""]}
    shape = values.get("shape", ())
    if (values.get("addr") is None or kind == "buffer") and 0 in shape:
        raise problem("shape", "shape: got 0, allowed is 1 and more")
    if kind == "buffer":
        if ("shape" in values) == ("like" in values):
            raise problem("", "needs a shape, or another's with like=")
        if "like" in values and "dtype" in values:
            raise problem("dtype", "dtype: is that of what it is like")
        return Data(**common, shape=shape, **{"dtype": "f32", **_without(values, "shape")})
    if kind == "weight":
        parameters = _without(values, "codec", "bits", "shape")
        for key, sentence in _weight_problems(values, parameters):
            raise problem(key, sentence)
        return Data(
            **common,
            space="dram",
            dtype="u8",
            shape=shape,
            codec=values["codec"],
            bits=values["bits"],
            parameters=MappingProxyType(parameters),
        )
    step_bytes = values.get("step", 0)
    data = Data(
        **common,
        space="dram",
        step_bytes=step_bytes,
        **{"dtype": "f32", **_without(values, "step")},
    )
    if step_bytes and step_bytes < data.port.frame_bytes:
        raise problem("step", f"step: got {step_bytes}, a frame has {data.port.frame_bytes} bytes")
    if data.port.axes_problem:
        raise problem("axes", f"axes: {data.port.axes_problem}")
    return data


def _without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}


def _weight_problems(
    values: Mapping[str, Any], parameters: Mapping[str, int]
) -> Iterator[tuple[str, str]]:
    """Keys of a weight that are wrong, and how."""
    # Codecs bring their compiled kernels; few texts have blocks.
    from azsim.codecs import codec_names, codec_parameters

    codec, bits = values["codec"], values["bits"]
    if codec not in codec_names():
        yield "codec", f"codec: no codec '{codec}'{nearest(codec, codec_names())}"
        return
    try:
        known = codec_parameters(codec)
    except CodecError as error:
        yield "codec", f"codec: {error}"
        return
    for key in parameters:
        if key not in known:
            allowed = ", ".join(known) or "none"
            yield key, f"{key}: codec {codec} has no such parameter, allowed are {allowed}"
    if not 2 <= bits <= 8:
        yield "bits", f"bits: got {bits}, allowed is 2 to 8"
    if len(values["shape"]) != 2:
        yield "shape", f"shape: got {len(values['shape'])} axes, expected rows and columns"
