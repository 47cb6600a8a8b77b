"""RNN-T builders against PyTorch in float64, with the very same weights: the encoders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from azsim.evaluate import evaluate_stream
from azsim.models import Model, builder
from azsim.models._weights import RandomWeights

torch = pytest.importorskip("torch")

SMALL = {
    "rnnt_mlperf": {
        "features": 24,
        "hidden": 48,
        "prediction": 20,
        "joint": 40,
        "symbols": 29,
        "max_symbols": 4,
    },
    "rnnt_google": {
        "features": 24,
        "cells": 48,
        "units": 20,
        "layers": 4,
        "embedding": 8,
        "joint": 40,
        "symbols": 29,
        "max_symbols": 4,
    },
}


def build(name: str, **parameters: Any) -> Model:
    module = builder(name)
    return module.build(module.Parameters(**parameters), 1)


def encoded(model: Model, data: np.ndarray) -> np.ndarray:
    """What azsim's float evaluation gives, frame by frame."""
    frames = {"features": data.reshape(-1, *model.graph.inputs["features"].shape)}
    found, _ = evaluate_stream(
        model.graph, frames, model.state, model.initial_state, keep=["encoded"]
    )
    return found["encoded"][:, 0]


def gates(array: np.ndarray) -> Any:
    """Rows in ONNX's order i, o, f, g as float64 in PyTorch's order i, f, g, o."""
    i, o, f, g = np.split(array.astype(np.float64), 4)
    return torch.from_numpy(np.concatenate([i, f, g, o]))


def torch_lstm(weights: dict[str, np.ndarray], name: str) -> Any:
    """A layer of PyTorch with the weights of one of azsim's."""
    W, R, B = (weights[f"{name}.{part}"][0] for part in "WRB")
    P = weights.get(f"{name}.P")
    cells = W.shape[0] // 4
    layer = torch.nn.LSTM(
        W.shape[1], cells, proj_size=0 if P is None else P.shape[1], dtype=torch.float64
    )
    biases = np.split(B, 2) if B.size == 8 * cells else (B, np.zeros_like(B))
    with torch.no_grad():
        layer.weight_ih_l0.copy_(gates(W))
        layer.weight_hh_l0.copy_(gates(R))
        layer.bias_ih_l0.copy_(gates(biases[0]))
        layer.bias_hh_l0.copy_(gates(biases[1]))
        if P is not None:
            layer.weight_hr_l0.copy_(torch.from_numpy(P[0].astype(np.float64)))
    return lambda data: layer(data)[0]


def normed_lstm(weights: dict[str, np.ndarray], name: str) -> Any:
    """A layer with layer norm, written by hand: PyTorch has none."""
    W, R, P, B = (torch.from_numpy(weights[f"{name}.{part}"][0]).double() for part in "WRPB")
    gain, shift = (
        torch.from_numpy(weights[f"{name}.gate_{key}"]).double() for key in ("gain", "shift")
    )
    norm = torch.nn.functional.layer_norm

    def run(data: Any) -> Any:
        r, c = torch.zeros(P.shape[0]).double(), torch.zeros(P.shape[1]).double()
        results = []
        for x in data:
            sums = norm(W @ x + R @ r + B, (len(B),), gain, shift)
            i, o, f, g = sums.chunk(4)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            r = P @ (o.sigmoid() * norm(c, (len(c),)).tanh())
            results.append(r)
        return torch.stack(results)

    return run


def reference(model: Model, data: np.ndarray, layers: list[str], join: int, layer: Any) -> Any:
    """The encoder and its half of the joint network; frames are joined before layer `join`."""
    weights = dict(model.graph.initializers)
    x = torch.from_numpy(data).double()
    with torch.no_grad():
        for number, name in enumerate(layers):
            if number == join:
                x = x.reshape(len(x) // 2, -1)
            x = layer(weights, f"encoder.{name}")(x)
        W, b = (torch.from_numpy(weights[f"joint.encoder.{part}"]).double() for part in "Wb")
        return (x @ W.T + b).numpy()


def check(found: np.ndarray, wanted: np.ndarray) -> None:
    """Equal to 1e-5 of the largest magnitude."""
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


MLPERF = [*(f"pre.{n}" for n in range(2)), *(f"post.{n}" for n in range(3))]


def features(frames: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((frames, width)).astype(np.float32)


def test_rnnt_mlperf_is_pytorchs() -> None:
    model, data = build("rnnt_mlperf", **SMALL["rnnt_mlperf"]), features(40, 24)
    check(encoded(model, data), reference(model, data, MLPERF, 2, torch_lstm))


def test_rnnt_mlperf_at_full_size_is_pytorchs() -> None:
    model, data = build("rnnt_mlperf"), features(8, 240)
    check(encoded(model, data), reference(model, data, MLPERF, 2, torch_lstm))


@pytest.mark.parametrize("layer_norm", [False, True])
def test_rnnt_google_is_pytorchs(layer_norm: bool) -> None:
    model = build("rnnt_google", layer_norm=layer_norm, **SMALL["rnnt_google"])
    data = features(40, 24)
    layer = normed_lstm if layer_norm else torch_lstm
    check(encoded(model, data), reference(model, data, list("0123"), 2, layer))


def test_rnnt_google_at_full_size_is_pytorchs() -> None:
    model, data = build("rnnt_google", layer_norm=False), features(6, 320)
    check(encoded(model, data), reference(model, data, list("01234567"), 2, torch_lstm))


def greedy(
    model: Model, halves: np.ndarray, names: list[str], activation: str, limit: int
) -> list[Any]:
    """Symbols of each frame by MLPerf's rule; `names` are the prediction network's layers."""
    weights = dict(model.graph.initializers)
    embedding = torch.from_numpy(weights["prediction.embedding"]).double()
    W, b = (torch.from_numpy(weights[f"joint.output.{part}"]).double() for part in "Wb")
    half = torch.from_numpy(weights["joint.prediction.W"]).double()
    function = torch.relu if activation == "relu" else torch.tanh
    layers = [torch_lstm(weights, f"prediction.{name}") for name in names]

    def predict(symbols: list[int]) -> Any:
        """From the start anew each time: no state is carried that could be wrong."""
        rows = [torch.zeros(1, embedding.shape[1]).double(), *(embedding[k][None] for k in symbols)]
        x = torch.cat(rows)
        for run in layers:
            x = run(x)
        return x[-1] @ half.T

    history: list[int] = []
    found = []
    with torch.no_grad():
        for f in torch.from_numpy(halves).double():
            frame: list[int] = []
            while len(frame) < limit:
                k = int((function(f + predict(history)) @ W.T + b).argmax())
                if k == len(b) - 1:
                    break
                frame.append(k)
                history.append(k)
            found.append(frame)
    return found


@pytest.mark.parametrize("name", SMALL)
def test_decoded_symbols_are_pytorchs(name: str) -> None:
    module, data = builder(name), {"features": features(24, 24).reshape(12, 2, 24)}
    norm = {} if name == "rnnt_mlperf" else {"layer_norm": False}
    activation = "relu" if name == "rnnt_mlperf" else "tanh"
    lengths: set[int] = set()
    for seed in range(6):
        parameters = module.Parameters(**SMALL[name], **norm, blank_bias=1.0 + seed / 4)
        model = module.build(parameters, 1, RandomWeights(seed))
        found, _ = evaluate_stream(model.graph, data, model.state, model.initial_state)
        symbols = [[int(k) for k in row if k >= 0] for row in found["symbols"][:, 0]]
        assert symbols == greedy(model, found["encoded"][:, 0], ["0", "1"], activation, 4)
        lengths |= {len(frame) for frame in symbols}
    assert {0, 4} <= lengths  # silence, and the limit
