"""Products of 8-bit codes by the one instruction that some hosts have for them.

``vpdpbusd`` of x86's AVX-512 VNNI multiplies 64 pairs of bytes and adds them up by fours, several
times as fast as widening them first.  Its left bytes are unsigned: a weight w goes in as w + 128,
and 128 times the codes is taken away again.  Sums wrap at 32 bits, so that their order is free.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from azsim.arith.prefetch import prefetch_line
from azsim.jit import has_feature, kernel

__all__ = ["HAS_BYTE_DOT", "multiply_bytes"]

HAS_BYTE_DOT = has_feature("avx512vnni") and has_feature("avx512bw")
"""Whether kernels are compiled for a processor that has the instruction."""

_AHEAD_BYTES = 8192
_I1, _I8, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))
_WIDTH = 64
_BYTES, _SUMS = ir.VectorType(_I8, _WIDTH), ir.VectorType(_I32, _WIDTH // 4)
_NONE, _ZERO = ir.Constant(_BYTES, None), ir.Constant(_SUMS, None)
_HIGHEST_BIT = ir.Constant(_BYTES, [0x80] * _WIDTH)  # as exclusive or it adds 128


class _Builder:
    """Writes the parts of `_dot`: sums are those of w + 128 and of 128, each times the codes."""

    def __init__(self, builder: ir.IRBuilder, weights: Any, codes: Any) -> None:
        self.builder, self._starts = builder, (weights, codes)

    def _call(self, name: str, result: ir.Type, *arguments: Any) -> Any:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.builder.call(self.builder.module.declare_intrinsic(name, (), kind), arguments)

    def _pointers(self, at: Any) -> list[Any]:
        add, pointer = self.builder.add, self.builder.inttoptr
        return [pointer(add(start, at), _BYTES.as_pointer()) for start in self._starts]

    def _added(self, sums: list[Any], weights: Any, codes: Any) -> list[Any]:
        cast = self.builder.bitcast
        lefts = self.builder.xor(weights, _HIGHEST_BIT), _HIGHEST_BIT
        return [
            self._call(
                "llvm.x86.avx512.vpdpbusd.512", _SUMS, total, cast(left, _SUMS), cast(codes, _SUMS)
            )
            for total, left in zip(sums, lefts, strict=True)
        ]

    def whole(self, sums: list[Any], at: Any) -> list[Any]:
        """Add the products of 64 bytes."""
        loaded = [self.builder.load(pointer, align=1) for pointer in self._pointers(at)]
        return self._added(sums, *loaded)

    def rest(self, sums: list[Any], at: Any, count: Any) -> list[Any]:
        """Add the products of fewer bytes; others are not touched."""
        builder = self.builder
        first = builder.insert_element(_NONE, builder.trunc(count, _I8), _I32(0))
        everywhere = ir.Constant(ir.VectorType(_I32, _WIDTH), None)
        counts = builder.shuffle_vector(first, _NONE, everywhere)
        numbers = ir.Constant(_BYTES, list(range(_WIDTH)))
        mask = builder.icmp_unsigned("<", numbers, counts)
        loaded = [
            self._call("llvm.masked.load.v64i8.p0", _BYTES, pointer, _I32(1), mask, _NONE)
            for pointer in self._pointers(at)
        ]
        return self._added(sums, *loaded)

    def total(self, sums: list[Any]) -> Any:
        """The dot product."""
        return self._call("llvm.vector.reduce.add.v16i32", _I32, self.builder.sub(*sums))


@intrinsic
def _dot(_context, weights, codes, count):
    """Dot product of so many int8 numbers at two addresses, wrapped at 32 bits."""

    def code(_, builder, _signature, arguments):
        weights, codes, count = arguments
        build = _Builder(builder, weights, codes)
        whole = builder.and_(count, _I64(-_WIDTH))
        start, loop = builder.block, builder.append_basic_block("loop")
        done = builder.append_basic_block("done")
        builder.cbranch(builder.icmp_signed(">", whole, _I64(0)), loop, done)

        builder.position_at_end(loop)
        at, *sums = (builder.phi(kind) for kind in (_I64, _SUMS, _SUMS))
        follows = [builder.add(at, _I64(_WIDTH)), *build.whole(sums, at)]
        builder.cbranch(builder.icmp_signed("<", follows[0], whole), loop, done)

        builder.position_at_end(done)
        found = [builder.phi(_SUMS) for _ in sums]
        for value, first, after in zip([at, *sums], (_I64(0), _ZERO, _ZERO), follows, strict=True):
            value.add_incoming(first, start)
            value.add_incoming(after, loop)
        for value, after in zip(found, follows[1:], strict=True):
            value.add_incoming(_ZERO, start)
            value.add_incoming(after, loop)
        return build.total(build.rest(found, whole, builder.and_(count, _I64(_WIDTH - 1))))

    return types.int32(types.int64, types.int64, types.int64), code


@kernel
def multiply_bytes(codes, weights, acc, accumulate):
    """`azsim.arith.matmul_kernel` for (M, K) codes of 8 bits, where `HAS_BYTE_DOT`.

    A line of weights is read once for all rows.  Weights of the next product often follow in
    memory, and come from there at its pace.
    """
    rows, inner = codes.shape
    outputs = weights.shape[0]
    left, right = weights.ctypes.data, codes.ctypes.data
    for n in range(outputs):
        line = left + n * inner
        prefetch_line(line + _AHEAD_BYTES, inner)
        for m in range(rows):
            total = _dot(line, right + m * inner, inner)  # pyright: ignore[reportCallIssue]
            at = m * outputs + n
            acc[at] = total + acc[at] if accumulate else total
