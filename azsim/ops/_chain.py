"""What operators share that are a chain of elementwise steps with constants.

A chain works in the output's buffer: each link replaces what is there by a function of it, of the
operator's input or of a number.  ``reference`` says the same in numpy.
"""

from __future__ import annotations

from azsim.ir import Node
from azsim.ops._views import broadcast
from azsim.ops.lowering import Binary, Lowering, TensorView, Unary, multiply_add

__all__ = ["Chain"]


class Chain:
    """Elementwise steps on the first input of a node, one after another.

    Attributes
    ----------
    source, target : TensorView
        The node's first input and first output; the chain's value is in `target` after a link.
    """

    def __init__(self, node: Node, lowering: Lowering) -> None:
        self._lowering = lowering
        self.source = lowering.view(node.inputs[0])
        self.target = lowering.new(node.outputs[0], self.source.shape)
        self._value = self.source

    def unary(self, function: str) -> None:
        """Replace the value by a function of it."""
        self._lowering.elementwise(Unary, self.target, self._value, function=function)
        self._value = self.target

    def multiply_add(self, factor: TensorView | float, other: TensorView | float) -> None:
        """Replace the value by its product with one of them, plus the other one."""
        operands = (self._broadcast(factor), self._broadcast(other))
        self._lowering.elementwise(multiply_add, self.target, self._value, *operands)
        self._value = self.target

    def binary(self, function: str, other: TensorView | float) -> None:
        """Replace the value by a function of it and of a tensor or a number."""
        right = self._broadcast(other)
        self._lowering.elementwise(Binary, self.target, self._value, right, function=function)
        self._value = self.target

    def _broadcast(self, operand: TensorView | float) -> TensorView:
        if not isinstance(operand, TensorView):
            operand = self._lowering.number(operand)
        return broadcast(operand, self.source.shape)
