"""A recurrent transducer as an inline workload: encoder with time stacking, prediction, joint.

The default sizes are those of MLPerf's RNN-T (45.3 million weights): two LSTMs at the rate of the
frames, pairs of their outputs stacked, three LSTMs at half that rate, a prediction network of two
LSTMs and the joint network.  One frame of the stream is two frames of features, one symbol and one
joint evaluation; decoding itself is not part of it.  Weights are random.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Sizes", "transducer_workload", "write_workload"]


@dataclass(frozen=True)
class Sizes:
    """Units of the parts."""

    features: int = 240
    encoder: int = 1024
    prediction: int = 320
    joint: int = 512
    symbols: int = 29
    pre_layers: int = 2
    post_layers: int = 3
    prediction_layers: int = 2


def transducer_workload(
    sizes: Sizes | None = None,
    *,
    frames: int = 1,
    hardware: str = "az1",
    compression: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Contents of a workload file.

    Parameters
    ----------
    sizes : Sizes, optional
    frames : int
        Of the stream; each is two frames of features.
    hardware : str
    compression : mapping, optional
        The section of that name; by default 8 bits, half of the weights pruned, codec bitmap.
    """
    sizes = sizes or Sizes()
    inputs: dict[str, Any] = {
        "features": {"shape": [1, 2, sizes.features]},
        "symbol": {"shape": [1, 1, sizes.prediction]},
    }
    initializers: dict[str, Any] = {
        "two_steps": {"values": [2, 1, sizes.features], "dtype": "int64"},
        "stacked_shape": {"values": [1, 1, 2 * sizes.encoder], "dtype": "int64"},
        "encoder_row": {"values": [1, sizes.encoder], "dtype": "int64"},
        "prediction_row": {"values": [1, sizes.prediction], "dtype": "int64"},
    }
    nodes: list[dict[str, Any]] = []
    outputs = ["logits"]
    state: dict[str, str] = {}

    def weight(name: str, *shape: int) -> str:
        scale = 1 / shape[-1] ** 0.5
        initializers[name] = {
            "shape": list(shape),
            "random": {"seed": len(initializers), "scale": scale},
        }
        return name

    def add(op: str, name: str, sources: list[str], results: list[str], **attributes: Any) -> str:
        entry = {"op": op, "name": name, "inputs": sources, "outputs": results}
        nodes.append({**entry, "attributes": attributes} if attributes else entry)
        return results[0]

    def lstm(name: str, source: str, width: int, units: int) -> str:
        old, new = [f"{name}_h", f"{name}_c"], [f"{name}_h_next", f"{name}_c_next"]
        inputs.update({entry: {"shape": [1, 1, units]} for entry in old})
        state.update(zip(old, new, strict=True))
        outputs.extend(new)
        sources = [
            source,
            weight(f"{name}_w", 1, 4 * units, width),
            weight(f"{name}_r", 1, 4 * units, units),
            weight(f"{name}_b", 1, 8 * units),
            "",
            *old,
        ]
        add("LSTM", name, sources, [f"{name}_y", *new], hidden_size=units)
        # Directions are an axis of their own, which the next layer has none of.
        return add("Squeeze", f"{name}_squeeze", [f"{name}_y", "direction"], [f"{name}_out"])

    initializers["direction"] = {"values": [1], "dtype": "int64"}
    value, width = add("Reshape", "steps", ["features", "two_steps"], ["steps"]), sizes.features
    for number in range(sizes.pre_layers):
        value, width = lstm(f"pre{number}", value, width, sizes.encoder), sizes.encoder
    value = add("Reshape", "stack", [value, "stacked_shape"], ["stacked"])
    width = 2 * sizes.encoder
    for number in range(sizes.post_layers):
        value, width = lstm(f"post{number}", value, width, sizes.encoder), sizes.encoder
    encoded = add("Reshape", "encoder_rows", [value, "encoder_row"], ["encoded"])
    value = "symbol"
    for number in range(sizes.prediction_layers):
        value = lstm(f"pred{number}", value, sizes.prediction, sizes.prediction)
    predicted = add("Reshape", "prediction_rows", [value, "prediction_row"], ["predicted"])
    add("Concat", "concat", [encoded, predicted], ["both"], axis=1)
    inner = sizes.encoder + sizes.prediction
    hidden = [weight("joint_w", sizes.joint, inner), weight("joint_b", sizes.joint)]
    add("Gemm", "joint", ["both", *hidden], ["hidden"], transB=1)
    add("Relu", "relu", ["hidden"], ["active"])
    last = [weight("symbols_w", sizes.symbols, sizes.joint), weight("symbols_b", sizes.symbols)]
    add("Gemm", "symbols", ["active", *last], ["logits"], transB=1)
    return {
        "name": "transducer",
        "model": {
            "graph": {
                "inputs": inputs,
                "initializers": initializers,
                "nodes": nodes,
                "outputs": outputs,
            }
        },
        "input": {"random": {"seed": 0, "frames": frames}},
        "stream": {"time_axis": {"features": 0, "symbol": 0}, "state": state},
        "compression": compression
        or {
            "default": {
                "weights": {"bits": 8, "scale": "per_channel"},
                "prune": {"method": "magnitude", "sparsity": 0.5},
                "codec": "bitmap",
            }
        },
        "hardware": hardware,
    }


def write_workload(folder: Path, contents: Mapping[str, Any]) -> Path:
    """Write a workload file (JSON, which YAML takes)."""
    path = folder / f"{contents['name']}.yaml"
    path.write_text(json.dumps(contents, indent=1))
    return path
