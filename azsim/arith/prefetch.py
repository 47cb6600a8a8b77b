"""A hint to the host's processor; it changes no value."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from azsim.jit import kernel

__all__ = ["prefetch_line"]

_CACHE_LINE_BYTES = 64


@intrinsic
def _prefetch(_context, address):
    """Fetch the cache line at an address, soon to be read; any address will do."""

    def code(context, builder, _signature, arguments):
        number = ir.IntType(32)
        pointer = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
        to_read, into_all_levels, data = number(0), number(3), number(1)
        builder.call(function, [pointer, to_read, into_all_levels, data])
        return context.get_dummy_value()

    return types.void(types.int64), code


@kernel
def prefetch_line(address, num_bytes):
    """Fetch what lies at an address into the caches; nothing need lie there."""
    for offset in range(0, num_bytes, _CACHE_LINE_BYTES):
        _prefetch(address + offset)  # pyright: ignore[reportCallIssue]
