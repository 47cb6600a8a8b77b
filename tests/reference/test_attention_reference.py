"""Window attention against PyTorch in float64; skipped where that is not installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from azsim.evaluate import evaluate_stream
from azsim.models.attention_window import Parameters, build

TOLERANCE = 1e-5
"""Of the largest magnitude."""

torch: Any = pytest.importorskip("torch")


def turned(x: Any, base: float) -> Any:
    """Rotary embedding of (tokens, heads, size): pairs (i, i + size / 2) as complex numbers."""
    count, _, size = x.shape
    rates = base ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angles = torch.arange(count, dtype=torch.float64)[:, None] * rates
    first, second = x[..., : size // 2], x[..., size // 2 :]
    product = torch.complex(first, second) * torch.polar(torch.ones_like(angles), angles)[:, None]
    return torch.cat([product.real, product.imag], dim=-1)


def attended(p: Parameters, weights: dict[str, Any], x: Any) -> Any:
    """All tokens at once, with a banded mask."""
    functional = torch.nn.functional
    count = len(x)
    age = torch.arange(count)[:, None] - torch.arange(count)
    band = (age >= 0) & (age < p.window)
    for number in range(p.layers):
        layer = f"layers.{number}."
        h = functional.rms_norm(x, (p.d_model,), weights[f"{layer}norm.gain"], p.epsilon)
        sizes = [p.heads, p.kv_heads, p.kv_heads]
        parts = (h @ weights[f"{layer}qkv.W"].T).split([n * p.head_size for n in sizes], dim=-1)
        q, k, v = (
            part.reshape(count, n, p.head_size) for part, n in zip(parts, sizes, strict=True)
        )
        q, k = turned(q, p.rotary_base), turned(k, p.rotary_base)
        y = functional.scaled_dot_product_attention(
            *(part.transpose(0, 1)[None] for part in (q, k, v)), attn_mask=band, enable_gqa=True
        )
        y = y[0].transpose(0, 1).reshape(count, -1)
        x = x + y @ weights[f"{layer}out.W"].T
        if p.feed_forward:
            gain = weights[f"{layer}feed_forward.norm.gain"]
            h = functional.rms_norm(x, (p.d_model,), gain, p.epsilon)
            gate, up, down = (weights[f"{layer}feed_forward.{n}.W"] for n in ("gate", "up", "down"))
            x = x + (functional.silu(h @ gate.T) * (h @ up.T)) @ down.T
    return x


CASES = [
    Parameters(d_model=32, layers=2, heads=4, kv_heads=2, head_size=8, window=6, max_positions=64),
    Parameters(d_model=24, layers=1, heads=6, kv_heads=6, head_size=4, window=1, max_positions=64),
    Parameters(
        d_model=48,
        layers=3,
        heads=8,
        kv_heads=1,
        head_size=6,
        window=40,
        cache_length=60,
        feed_forward=64,
        max_positions=64,
    ),
    Parameters(layers=2, window=16, max_positions=64),
]


@pytest.mark.parametrize("cache", ["int8", "float32"])
@pytest.mark.parametrize("chunk", [1, 8])
@pytest.mark.parametrize("p", CASES)
def test_the_float_model_is_pytorchs(p: Parameters, chunk: int, cache: Any) -> None:
    p = Parameters(**{**vars(p), "cache": cache})
    if p.cache_length:
        assert p.cache_length >= p.window + chunk - 1
    model = build(p, chunk)
    x = np.random.default_rng(3).standard_normal((48, p.d_model)).astype(np.float32)
    frames = {"x": x.reshape(-1, chunk, p.d_model)}
    found, _ = evaluate_stream(model.graph, frames, model.state, model.initial_state, None, ["y"])
    weights = {
        name: torch.tensor(array, dtype=torch.float64)
        for name, array in model.graph.initializers.items()
        if array.dtype == np.float32
    }
    expected = attended(p, weights, torch.tensor(x, dtype=torch.float64)).numpy()
    error = np.abs(found["y"].reshape(x.shape) - expected).max()
    assert error <= TOLERANCE * np.abs(expected).max()
