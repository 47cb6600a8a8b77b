"""One matrix product, for people who study one kernel: ``y = x W^T + b``, M x K times K x N.

A frame is M rows; MACs are M K N a frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from azsim.models._dimensions import STRICT, Dimension
from azsim.models._model import Model
from azsim.models._network import Network
from azsim.models._weights import WeightSource


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Shape of the product."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    m: Dimension = 1
    """Rows of a frame."""
    k: Dimension = 1024
    """Inputs."""
    n: Dimension = 1024
    """Outputs."""
    bias: bool = False
    """Whether b is there."""


def build(parameters: Parameters, chunk_frames: int, weights: WeightSource | None = None) -> Model:
    """Build the graph of `chunk_frames` times M rows."""
    net = Network("gemm")
    rows = parameters.m * chunk_frames
    x = net.input("x", (rows, parameters.k), time_axis=0)
    y = net.linear("gemm", x, parameters.k, parameters.n, bias=parameters.bias)
    return net.finish({"y": y}, weights, macs={"chunk": rows * parameters.k * parameters.n})
