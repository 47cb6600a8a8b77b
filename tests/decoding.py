"""Small transducers for tests of decoding, and greedy decoding on the host, written anew."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from azsim.ir import CompressedGraph, Graph, Node, TensorType
from azsim.ops._subgraph import captured, inner_graph
from azsim.ops.build import build_graph
from azsim.ops.linear import QuantizedLinear

__all__ = ["STATE", "Decoded", "Transducer", "decode_on_host", "transducer"]

STATE = {"started": "started_next", "g": "g_next", "h": "h_next", "c": "c_next"}


@dataclass(frozen=True)
class Transducer:
    """Greedy decoding over frames `f`, which are there or come from an encoder."""

    graph: Graph
    blank: int
    limit: int
    activation: str

    def zero_state(self) -> dict[str, np.ndarray]:
        """State at the start of a stream."""
        return {name: np.zeros(self.graph.inputs[name].shape, np.float32) for name in STATE}


def transducer(
    seed: int,
    *,
    frames: int = 3,
    joint: int = 6,
    symbols: int = 5,
    embedding: int = 4,
    hidden: int = 5,
    limit: int = 4,
    blank_bias: float = 0.0,
    activation: str = "relu",
    blank: int | None = None,
    features: int = 0,
) -> Transducer:
    """A random one; a larger bias of the blank gives fewer symbols.

    With `features` an LSTM and the encoder's half of the joint network come before.
    """
    rng = np.random.default_rng(seed)

    def floats(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    blank = symbols - 1 if blank is None else blank
    bias = floats(symbols)
    bias[blank] += np.float32(blank_bias)
    rows = symbols - 1 if blank == symbols - 1 else symbols
    initializers = {
        "embedding": floats(rows, embedding),
        "out_w": floats(symbols, joint),
        "out_b": bias,
        "lstm_w": floats(1, 4 * hidden, embedding),
        "lstm_r": floats(1, 4 * hidden, hidden),
        "lstm_b": floats(1, 8 * hidden),
        "half_w": floats(joint, hidden),
        "half_shape": np.array([1, hidden], np.int64),
        "steps_shape": np.array([1, 1, embedding], np.int64),
    }
    nodes = [
        Node("p_steps", "Reshape", ("row", "steps_shape"), ("steps",)),
        Node("p_lstm", "LSTM", ("steps", "lstm_w", "lstm_r", "lstm_b", "", "h0", "c0"),
             ("", "h1", "c1"), {"hidden_size": hidden}),
        Node("p_rows", "Reshape", ("h1", "half_shape"), ("rows",)),
        Node("p_half", "Gemm", ("rows", "half_w"), ("half",), {"transB": 1}),
    ]  # fmt: skip
    state = (1, 1, hidden)
    predict = inner_graph(
        "predict", {"row": (1, embedding), "h0": state, "c0": state}, nodes, ("half", "h1", "c1")
    )
    greedy = Node(
        "decode",
        "TransducerGreedy",
        ("f", "embedding", "out_w", "out_b", *STATE, *captured(predict)),
        ("symbols", "counts", *STATE.values()),
        {"predict": predict, "max_symbols": limit, "activation": activation, "blank": blank},
    )
    nodes, before = [greedy], {"f": (frames, joint)}
    if features:
        before = {"x": (frames, 1, features)}
        initializers |= {
            "enc_w": floats(1, 4 * features, features),
            "enc_r": floats(1, 4 * features, features),
            "enc_shape": np.array([frames, features], np.int64),
            "f_w": floats(joint, features),
            "f_b": floats(joint),
        }
        nodes = [
            Node("lstm", "LSTM", ("x", "enc_w", "enc_r"), ("y",), {"hidden_size": features}),
            Node("rows", "Reshape", ("y", "enc_shape"), ("encoded",)),
            Node("half", "Gemm", ("encoded", "f_w", "f_b"), ("f",), {"transB": 1}),
            greedy,
        ]
    shapes = {**before, "started": (1, 1), "g": (1, joint), "h": state, "c": state}
    inputs = {name: TensorType("float32", shape) for name, shape in shapes.items()}
    outputs = ("symbols", "counts", *STATE.values())
    graph = build_graph("transducer", inputs, initializers, nodes, outputs, "test")
    return Transducer(graph, blank, limit, activation)


@dataclass(frozen=True)
class Decoded:
    """What decoding on the host gives."""

    symbols: list[list[int]]
    predictions: int
    evaluations: int
    state: dict[str, np.ndarray]


def decode_on_host(
    model: Transducer,
    compressed: CompressedGraph,
    frames: np.ndarray,
    state: dict[str, np.ndarray] | None = None,
) -> Decoded:
    """Decode as the rules say, in plain Python over products of the compressed weights.

    One loop over evaluations of the joint network, as MLPerf's decoder has it, and an LSTM cell of
    its own: nothing is shared with the operator but the products and the chip's functions.
    """
    from azsim.arith import relu, sigmoid, tanh

    linear, weights = QuantizedLinear(compressed.weights), model.graph.initializers
    hidden = weights["lstm_r"].shape[-1]
    state = dict(state or model.zero_state())
    half, h, c = state["g"], state["h"][0], state["c"][0]
    bias = weights["lstm_b"][0, : 4 * hidden] + weights["lstm_b"][0, 4 * hidden :]
    predictions = evaluations = 0

    def product(name: str, rows: np.ndarray) -> np.ndarray:
        return linear.multiply(name, *linear.quantize(name, rows))

    def predict(row: np.ndarray) -> None:
        nonlocal half, h, c, predictions
        predictions += 1
        a = product("lstm_w", row) + product("lstm_r", h) + bias
        i, o, f, g = (a[:, k * hidden : (k + 1) * hidden] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        half = product("half_w", h)

    if not state["started"].any():
        predict(np.zeros((1, weights["embedding"].shape[1]), np.float32))
    found: list[list[int]] = [[]]
    t = 0
    while t < len(frames):
        function = relu if model.activation == "relu" else tanh
        logits = product("out_w", function(frames[t : t + 1] + half)) + weights["out_b"]
        evaluations += 1
        symbol = int(np.argmax(logits[0]))
        if symbol != model.blank:
            found[-1].append(symbol)
            predict(weights["embedding"][symbol : symbol + 1])
        if symbol == model.blank or len(found[-1]) >= model.limit:
            t += 1
            found.append([])
    final = {"started": np.ones((1, 1), np.float32), "g": half, "h": h[None], "c": c[None]}
    return Decoded(found[:-1], predictions, evaluations, final)
