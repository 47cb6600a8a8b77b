"""Expressions of a sweep file: arithmetic and comparisons over axes and figures, nothing else.

The syntax is Python's; what may stand in it is listed here.  A name is an axis, an objective or a
figure such as ``frame_latency_s.p99``; one that is no Python name is written
``figure('outputs.a/b.sqnr_db')``.  A name without a value - an axis that its condition leaves out,
a figure that a run has not - is *absent*: it differs from everything, no other comparison with it
holds, and arithmetic with it is absent.  So is a division by zero.
"""

from __future__ import annotations

import ast
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

from azsim.errors import InputError

__all__ = ["Expression", "ExpressionError", "parse_expression"]

_LONGEST = 1000
_DEEPEST = 50
_LARGEST_POWER = 64
_NODES = (
    ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Add,
    ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.Compare, ast.Eq, ast.NotEq,
    ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.IfExp, ast.Constant, ast.Name,
    ast.Attribute, ast.Load, ast.Call, ast.List, ast.Tuple,
)  # fmt: skip
_WHAT = {
    ast.Subscript: "an index",
    ast.Lambda: "a function",
    ast.JoinedStr: "a formatted string",
    ast.Dict: "a mapping",
    ast.Set: "a set",
    ast.Is: "'is'",
    ast.IsNot: "'is not'",
    ast.NamedExpr: "an assignment",
}
_ALLOWED = "numbers, strings, names, + - * / // % **, comparisons, and, or, not, in, if else"


class ExpressionError(InputError):
    """An expression is wrong; `offset` is the column, from 0, at which it is."""

    def __init__(self, sentence: str, offset: int) -> None:
        super().__init__(sentence)
        self.offset = offset


@dataclass(frozen=True)
class Expression:
    """One expression, checked.

    Attributes
    ----------
    text : str
    names : mapping of str to int
        Names of axes, objectives and figures that it asks for, each with its first column.
    """

    text: str
    names: Mapping[str, int]

    def value(self, values: Mapping[str, Any]) -> Any:
        """Compute the expression.

        Parameters
        ----------
        values : mapping of str to object
            Of the names; one that is missing or None is absent.

        Returns
        -------
        object
            None where the expression is absent.

        Raises
        ------
        InputError
            If values do not go with what is done with them, such as a string with arithmetic.
        """
        found = {}
        for name in self.names:
            value = values.get(name)
            found[name] = _ABSENT if value is None else value
        try:
            result = eval(_code(self.text), {**_SCOPE, "_names": found})
        except (TypeError, ValueError, ArithmeticError) as error:
            raise InputError(f"{self.text!r} cannot be computed: {error}") from None
        return None if result is _ABSENT else result

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether the expression is true; absent counts as false."""
        return bool(self.value(values))


def parse_expression(text: str) -> Expression:
    """Check an expression.

    Raises
    ------
    ExpressionError
        With the first thing that is wrong, and its column.
    """
    return Expression(text, dict(_parsed(text)[1]))


@functools.cache
def _code(text: str) -> CodeType:
    return compile(_parsed(text)[0], "<expression>", "eval")


@functools.cache
def _parsed(text: str) -> tuple[ast.Expression, Mapping[str, int]]:
    if len(text) > _LONGEST:
        sentence = f"too long, found {len(text)} characters, allowed: {_LONGEST}"
        raise ExpressionError(sentence, 0)
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        offset = getattr(error, "offset", None) or 1
        reason = getattr(error, "msg", None) or str(error)
        raise ExpressionError(f"not an expression: {reason}, found {text!r}", offset - 1) from None
    builder = _Builder()
    body = builder.checked(tree.body, 0)
    return ast.fix_missing_locations(ast.Expression(body)), builder.names


class _Builder:
    """Checks a tree and puts look-ups and safe operations in the place of names and operators."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}

    def checked(self, node: ast.expr, depth: int) -> ast.expr:
        if depth > _DEEPEST:
            raise ExpressionError(f"nested deeper than {_DEEPEST} levels", node.col_offset)
        for part in (node, *_operators(node)):
            if not isinstance(part, _NODES):
                what = _WHAT.get(type(part), type(part).__name__)
                raise ExpressionError(f"{what} is not read, allowed: {_ALLOWED}", node.col_offset)
        match node:
            case ast.Name() | ast.Attribute():
                return self._name(_dotted(node), node)
            case ast.Call():
                return self._call(node, depth)
            case ast.Constant(value=value) if not isinstance(value, str | int | float):
                found = "nothing" if value is None else repr(value)
                sentence = f"a constant is a number, a string, True or False, found {found}"
                raise ExpressionError(sentence, node.col_offset)
        for field, value in ast.iter_fields(node):
            if isinstance(value, ast.expr):
                setattr(node, field, self.checked(value, depth + 1))
            elif isinstance(value, list):
                setattr(node, field, [self._inner(item, depth) for item in value])
        if isinstance(node, ast.BinOp) and type(node.op) in _SAFE:
            name = _SAFE[type(node.op)]
            return ast.Call(ast.Name(name, ast.Load()), [node.left, node.right], [])
        return node

    def _inner(self, item: Any, depth: int) -> Any:
        return self.checked(item, depth + 1) if isinstance(item, ast.expr) else item

    def _name(self, name: str, node: ast.expr) -> ast.expr:
        self.names.setdefault(name, node.col_offset)
        return ast.Subscript(ast.Name("_names", ast.Load()), ast.Constant(name), ast.Load())

    def _call(self, node: ast.Call, depth: int) -> ast.expr:
        name = node.func.id if isinstance(node.func, ast.Name) else "something else"
        if name == "figure":
            if len(node.args) == 1 and not node.keywords and isinstance(node.args[0], ast.Constant):
                return self._name(str(node.args[0].value), node)
            sentence = "figure() takes one string, such as figure('outputs.y.sqnr_db')"
            raise ExpressionError(sentence, node.col_offset)
        if name not in _FUNCTIONS:
            allowed = ", ".join((*_FUNCTIONS, "figure"))
            raise ExpressionError(f"unknown function {name!r}, allowed: {allowed}", node.col_offset)
        if node.keywords or not node.args or any(isinstance(a, ast.Starred) for a in node.args):
            raise ExpressionError(f"{name}() takes values alone", node.col_offset)
        arguments = [self.checked(argument, depth + 1) for argument in node.args]
        return ast.Call(ast.Name(f"_{name}", ast.Load()), arguments, [])


def _operators(node: ast.expr) -> list[ast.AST]:
    match node:
        case ast.BoolOp(op=op) | ast.UnaryOp(op=op) | ast.BinOp(op=op):
            return [op]
        case ast.Compare(ops=ops):
            return list(ops)
    return []


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    raise ExpressionError("a name is words with dots between them", node.col_offset)


class _Absent:
    """The value of a name that has none."""

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return False

    def _never(self, other: object) -> bool:
        return False

    def _itself(self, *_: object) -> _Absent:
        return self

    __lt__ = __le__ = __gt__ = __ge__ = _never
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _itself
    __mod__ = __rmod__ = __neg__ = __pos__ = _itself


_ABSENT = _Absent()


def _or_absent(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def of(*values: Any) -> Any:
        return _ABSENT if any(value is _ABSENT for value in values) else function(*values)

    return of


def _times(left: Any, right: Any) -> Any:
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        raise TypeError("only numbers are multiplied")
    return left * right


def _divide(left: Any, right: Any) -> Any:
    return left / right if right else _ABSENT


def _divide_whole(left: Any, right: Any) -> Any:
    return left // right if right else _ABSENT


def _remainder(left: Any, right: Any) -> Any:
    if isinstance(left, str):
        raise TypeError("a string has no remainder")
    return left % right if right else _ABSENT


def _power(base: Any, exponent: Any) -> Any:
    if abs(exponent) > _LARGEST_POWER:
        raise ValueError(f"a power is at most {_LARGEST_POWER}, found {exponent}")
    if not base and exponent < 0:
        return _ABSENT
    return float(base) ** exponent if abs(base) > 1 << 32 else base**exponent


_SAFE = {
    ast.Mult: "_times",
    ast.Pow: "_power",
    ast.Div: "_divide",
    ast.FloorDiv: "_divide_whole",
    ast.Mod: "_rest",
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "floor": math.floor,
    "log2": math.log2,
    "max": max,
    "min": min,
    "round": round,
    "sqrt": math.sqrt,
}
_SCOPE: Mapping[str, Any] = {
    "__builtins__": {},
    "_times": _or_absent(_times),
    "_power": _or_absent(_power),
    "_divide": _or_absent(_divide),
    "_divide_whole": _or_absent(_divide_whole),
    "_rest": _or_absent(_remainder),
    **{f"_{name}": _or_absent(function) for name, function in _FUNCTIONS.items()},
}
