"""Hypothesis strategies for values of azsim."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from hypothesis import strategies as st

from azsim.isa.encode import pack_value
from azsim.isa.program import Instruction, Port, Program, Region, Stream, Tap
from azsim.isa.spec import Field, instruction_set

_NAMES = st.one_of(
    st.from_regex(r"[a-z/_.0-9]{1,12}", fullmatch=True),
    st.text(max_size=8),
    st.sampled_from(["a b", 'say "hi"', "x;y", "k=v", "line\nbreak", ".in"]),
)
_COUNTS = st.integers(0, 1 << 40)
_SHAPES = st.lists(st.integers(0, 5000), max_size=4).map(tuple)


def operand_values(field: Field) -> st.SearchStrategy[int | float | str]:
    """Values that fit a field, its edges often among them."""
    if field.kind == "enum":
        return st.sampled_from(list(field.values))
    if field.kind == "float":
        return st.floats(width=32, allow_nan=False)
    edges = st.sampled_from([field.minimum, field.maximum])
    return st.one_of(edges, st.integers(field.minimum, field.maximum))


@st.composite
def instructions(draw: st.DrawFn) -> Instruction:
    """Canonical instructions: no operand with its default is listed."""
    spec = draw(st.sampled_from(list(instruction_set().instructions.values())))
    operands: dict[str, int | float | str] = {}
    for name, field in spec.operands.items():
        value = draw(operand_values(field))
        if pack_value(field, value) != 0:
            operands[name] = value
    return Instruction(spec.mnemonic, MappingProxyType(operands))


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Well-formed programs; what their instructions do makes no sense."""
    body = tuple(draw(st.lists(instructions(), max_size=6)))
    layers = tuple(draw(st.lists(_NAMES, max_size=3, unique=True)))
    layer_of = st.lists(
        st.integers(-1, len(layers) - 1), min_size=len(body), max_size=len(body)
    ).map(tuple)
    views = [index for index, entry in enumerate(body) if entry.mnemonic == "view"]
    dtypes = st.sampled_from(["f32", "i32", "i16", "i8", "u8"])
    port = st.builds(Port, _NAMES, _COUNTS, _SHAPES, st.integers(1, 9999), dtypes).flatmap(
        lambda one: st.sampled_from((0, 1, 64)).map(
            lambda gap: replace(one, step_bytes=one.frame_bytes + gap) if gap else one
        )
    )
    ports = st.lists(port, max_size=2)
    fields = instruction_set().fields
    regions = st.builds(
        Region,
        name=_NAMES,
        space=st.sampled_from(list(fields["space"].values)),
        start_bytes=_COUNTS,
        size_bytes=_COUNTS,
        dtype=st.sampled_from(list(fields["dtype"].values)),
        first=st.integers(0, 9),
        last=st.integers(-1, 9),
    )
    taps = st.builds(
        Tap,
        index=st.integers(0, 9),
        tensor=_NAMES,
        addr=_COUNTS,
        shape=_SHAPES,
        strides_bytes=st.lists(st.integers(-5000, 5000), max_size=4).map(tuple),
        dtype=st.sampled_from(("f32", "i32", "i8")),
    )
    period_s = st.none() | st.floats(0, 1e6, exclude_min=True)
    return Program(
        name=draw(_NAMES),
        instructions=body,
        layers=layers,
        layer_of=draw(st.just(()) | layer_of),
        region_of_view={index: draw(_NAMES) for index in views if draw(st.booleans())},
        regions=tuple(draw(st.lists(regions, max_size=2))),
        taps=tuple(draw(st.lists(taps, max_size=2))),
        inputs=tuple(draw(ports)),
        outputs=tuple(draw(ports)),
        stream=draw(st.builds(Stream, st.integers(1, 99999), period_s, st.booleans())),
    )
