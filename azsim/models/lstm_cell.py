"""One LSTM layer with carried state, for people who study one kernel.

A frame is one step; with all inputs at once ``W x`` of a chunk's frames is one product, while
``R h`` goes step by step.  MACs are 4 hidden (inputs + hidden) a frame; with a projection to n
units 4 hidden (inputs + n) + n hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from azsim.models._dimensions import STRICT, Dimension
from azsim.models._model import Model
from azsim.models._network import Network
from azsim.models._recurrent import Sizes, lstm, lstm_macs
from azsim.models._weights import WeightSource


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Shape of the layer."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    inputs: Dimension = 512
    """Features of a frame."""
    hidden: Dimension = 512
    """Cells."""
    projection: Dimension | None = None
    """Units that the state is projected to; left out: none."""
    layer_norm: bool = False
    """Normalise the gates' sums and the cell."""


def build(parameters: Parameters, chunk_frames: int, weights: WeightSource | None = None) -> Model:
    """Build the graph of `chunk_frames` steps."""
    sizes = Sizes(
        parameters.inputs,
        parameters.hidden,
        parameters.projection or parameters.hidden,
        parameters.projection is not None,
        "all" if parameters.layer_norm else "none",
    )
    net = Network("lstm_cell")
    x = net.input("x", (chunk_frames, parameters.inputs), time_axis=0)
    y = lstm(net, "lstm", x, sizes, chunk_frames)
    return net.finish({"y": y}, weights, macs={"chunk": chunk_frames * lstm_macs(sizes)})
