"""What a row of numbers says: its columns, and the numbers of kinds and functions.

Kernels compile these numbers in: `azsim.jit` hashes this file with theirs, as it names that module.
"""

from __future__ import annotations

from azsim import arith

__all__ = ["COLUMNS", "FLAGS", "FUNCTIONS", "KINDS", "NUM_LINES", "OPERANDS", "VIEW_COLUMNS"]

MATMUL, DRAIN, BINARY, UNARY, COPY, QUANTIZE, REDUCE, NORM = range(8)
CUMULATIVE_SUM, SCAN, SOFTMAX, ARG, COMPARE, SELECT, CONVERT, FILL = range(8, 16)
GATHER, SCATTER, MULTIPLY_ADD = 16, 17, 18
KINDS = {
    "mac_matmul": MATMUL,
    "mac_drain": DRAIN,
    "vector_binary": BINARY,
    "vector_unary": UNARY,
    "vector_copy": COPY,
    "load": COPY,
    "store": COPY,
    "vector_quantize": QUANTIZE,
    "vector_reduce": REDUCE,
    "vector_norm": NORM,
    "vector_cumulative_sum": CUMULATIVE_SUM,
    "vector_scan": SCAN,
    "vector_softmax": SOFTMAX,
    "vector_arg": ARG,
    "vector_compare": COMPARE,
    "vector_select": SELECT,
    "vector_convert": CONVERT,
    "vector_fill": FILL,
    "vector_gather": GATHER,
    "vector_scatter": SCATTER,
    "vector_multiply_add": MULTIPLY_ADD,
}
"""Kinds of rows, by mnemonic."""

ADD, SUB, MUL, DIV, LARGER, SMALLER = range(6)
RELU, SQRT, NEG, ABS = -1, -2, -3, -4  # the arithmetic's own numbers are positive
EQUAL, LESS, LESS_EQUAL = range(3)
TO_FLOAT = 1
FUNCTIONS = {
    "mac_drain": arith.DRAIN_FUNCTIONS,
    "vector_binary": {
        "add": ADD,
        "sub": SUB,
        "mul": MUL,
        "div": DIV,
        "max": LARGER,
        "min": SMALLER,
    },
    "vector_unary": {
        **arith.TABLE_FUNCTIONS,
        "relu": RELU,
        "sqrt": SQRT,
        "neg": NEG,
        "abs": ABS,
    },
    "vector_reduce": {name: number for number, name in enumerate(arith.REDUCE_FUNCTIONS)},
    "vector_norm": {"rms_norm": 0, "layer_norm": 1},
    "vector_arg": {"min": 0, "max": 1},
    "vector_compare": {"equal": EQUAL, "less": LESS, "less_equal": LESS_EQUAL},
}
"""Numbers of what an instruction may compute, by mnemonic; of a fill and a conversion it is
whether dst is float."""

FLAGS = ("accumulate", "use_bias", "use_peak", "static", "requantize")
"""Bits of the flags, the lowest first."""
ACCUMULATE, USE_BIAS, USE_PEAK, STATIC, REQUANTIZE = (1 << bit for bit in range(5))

DST, SRC, SRC2, SCALE, BIAS, PEAK, CODE_SCALE = range(7)
OPERANDS = {
    "dst": DST,
    "src": SRC,
    "src2": SRC2,
    "scale": SCALE,
    "other": SCALE,
    "initial": SCALE,
    "indices": SCALE,
    "bias": BIAS,
    "peak": PEAK,
    "code_scale": CODE_SCALE,
}
"""Columns of operands that may be views; no instruction has two in one column."""
COLUMNS = (
    *("dst", "src", "src2", "scale", "bias", "peak", "code_scale"),
    *("kind", "function", "flags", "acc", "tile", "outputs", "mask", "value"),
)
"""Columns of a row.  `tile` is the address of the codes in this process, `outputs` its rows;
`mask` is where the zero mask of src goes, -1 where it is known already; `value` has the bits of a
float64."""
KIND, FUNCTION, FLAG_BITS, ACC, TILE, OUTPUTS, MASK, VALUE = range(7, 15)

VIEW_COLUMNS = ("addr", "slot", "rows", "cols", "row_step", "col_step", "shift")
"""Columns of a view: byte of the arena, slot of the offset that is added (-1: none), shape, steps
in elements, and the logarithm of an element's bytes."""
ADDR, SLOT, ROWS, COLS, ROW_STEP, COL_STEP, SHIFT = range(7)

NUM_LINES = 4
"""Scratch lines that an instruction may need, each for a whole view."""
