"""The small Conformer against a plain PyTorch model in float64, with the very same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from azsim.evaluate import evaluate_stream
from azsim.models import Model, builder
from azsim.models._weights import RandomWeights
from azsim.models.conformer_rnnt_small import Parameters

torch = pytest.importorskip("torch")

SMALL = Parameters(
    features=16, blocks=2, d_model=24, heads=3, feed_forward=40, kernel=5, window=7, symbols=29,
    prediction=12, joint=20,
)  # fmt: skip


class Conformer:
    """The encoder and its half of the joint network, all frames of an utterance at once."""

    def __init__(self, p: Parameters, arrays: dict[str, np.ndarray]) -> None:
        self.p = p
        self.weights = {
            name: torch.from_numpy(np.asarray(array, np.float64)) for name, array in arrays.items()
        }

    def linear(self, name: str, x: Any) -> Any:
        return torch.nn.functional.linear(x, *(self.weights[f"{name}.{key}"] for key in "Wb"))

    def norm(self, name: str, x: Any) -> Any:
        gain, shift = (self.weights[f"{name}.{key}"] for key in ("gain", "shift"))
        return torch.nn.functional.layer_norm(x, (self.p.d_model,), gain, shift, self.p.epsilon)

    def subsampled(self, features: Any) -> Any:
        conv2d = torch.nn.functional.conv2d
        name = "encoder.subsampling"
        x = torch.nn.functional.pad(features[None, None], (1, 1, 1, 0))
        kernel = self.weights[f"{name}.0.W"][:, None]
        x = conv2d(x, kernel, self.weights[f"{name}.0.b"], stride=2).relu()
        kernel = torch.stack([self.weights[f"{name}.1.W{tap}"] for tap in range(3)], dim=2)
        x = torch.nn.functional.pad(x, (1, 1, 1, 0))
        x = conv2d(x, kernel, self.weights[f"{name}.1.b"], stride=2).relu()
        _, channels, frames, bands = x.shape
        x = x[0].permute(1, 0, 2).reshape(frames, channels * bands)
        return self.linear(f"{name}.out", x)

    def feed_forward(self, name: str, x: Any) -> Any:
        h = torch.nn.functional.silu(self.linear(f"{name}.up", self.norm(f"{name}.norm", x)))
        return self.linear(f"{name}.down", h)

    def attention(self, name: str, x: Any) -> Any:
        p, frames = self.p, len(x)
        size = p.d_model // p.heads

        def by_head(rows: Any) -> Any:
            return rows.reshape(-1, p.heads, size).permute(1, 0, 2)

        q, k, v = self.linear(f"{name}.qkv", x).chunk(3, dim=1)
        rates = 10_000.0 ** (-torch.arange(0, p.d_model, 2).double() / p.d_model)
        angles = torch.arange(frames).double()[:, None] * rates
        sinusoids = torch.cat([angles.sin(), angles.cos()], dim=1)
        r = by_head(sinusoids @ self.weights[f"{name}.positions.W"])
        content = by_head(q + self.weights[f"{name}.u"]) @ by_head(k).transpose(1, 2)
        by_distance = by_head(q + self.weights[f"{name}.v"]) @ r.transpose(1, 2)
        distance = torch.arange(frames)[:, None] - torch.arange(frames)[None]
        picked = distance.clamp(min=0).expand(p.heads, -1, -1)
        scores = (content + by_distance.gather(2, picked)) / size**0.5
        hidden = (distance < 0) | (distance >= p.window)
        weights = scores.masked_fill(hidden, -torch.inf).softmax(dim=2)
        joined = (weights @ by_head(v)).permute(1, 0, 2).reshape(frames, p.d_model)
        return self.linear(f"{name}.out", joined)

    def convolution(self, name: str, x: Any) -> Any:
        h = torch.nn.functional.glu(self.linear(f"{name}.in", x), dim=1)
        h = torch.nn.functional.pad(h.T[None], (self.p.kernel - 1, 0))
        kernel, bias = (self.weights[f"{name}.depthwise.{key}"] for key in "Wb")
        h = torch.nn.functional.conv1d(h, kernel, bias, groups=self.p.d_model)[0].T
        h = torch.nn.functional.silu(self.norm(f"{name}.inner_norm", h))
        return self.linear(f"{name}.out", h)

    def encoded(self, features: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            x = self.subsampled(torch.from_numpy(features).double())
            for number in range(self.p.blocks):
                name = f"encoder.blocks.{number}"
                x = x + self.feed_forward(f"{name}.feed_forward.0", x) / 2
                x = x + self.attention(f"{name}.attention", self.norm(f"{name}.attention.norm", x))
                normed = self.norm(f"{name}.convolution.norm", x)
                x = x + self.convolution(f"{name}.convolution", normed)
                x = x + self.feed_forward(f"{name}.feed_forward.1", x) / 2
                x = self.norm(f"{name}.norm", x)
            return self.linear("joint.encoder", x).numpy()


class Kept:
    """Seeded weights that are remembered, also those that the graph has folded away."""

    def __init__(self) -> None:
        self.made: dict[str, np.ndarray] = {}

    def arrays(self, tensors: Any, needed: Any) -> dict[str, np.ndarray]:
        self.made = dict(RandomWeights().arrays(tensors, needed))
        return self.made


def check(p: Parameters, frames: int, chunk_frames: int) -> None:
    kept = Kept()
    model: Model = builder("conformer_rnnt_small").build(p, chunk_frames, kept)
    data = np.random.default_rng(3).standard_normal((4 * frames, p.features)).astype(np.float32)
    found, _ = evaluate_stream(
        model.graph,
        {"features": data.reshape(-1, *model.graph.inputs["features"].shape)},
        model.state,
        model.initial_state,
        keep=["encoded"],
    )
    wanted = Conformer(p, kept.made).encoded(data)
    result = found["encoded"].reshape(wanted.shape)
    assert np.abs(result - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("chunk_frames", [1, 4])
def test_a_small_conformer_is_pytorchs(chunk_frames: int) -> None:
    check(SMALL, 24, chunk_frames)


def test_the_conformer_at_full_size_is_pytorchs() -> None:
    check(Parameters(window=16), 40, 4)
