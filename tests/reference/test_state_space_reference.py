"""Mamba and Mamba-2 against transformers, with its weights; skipped where it is not installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from azsim.evaluate import evaluate_stream
from azsim.models import builder
from azsim.models._weights import ArrayWeights

TOLERANCE = 1e-5
"""Of the largest magnitude."""

MAMBA = [
    {"d_model": 16, "n_layer": 2, "vocab": 50, "d_state": 5},
    {"d_model": 24, "n_layer": 3, "vocab": 33, "d_state": 16, "d_conv": 3, "expand": 1},
    {"d_model": 40, "n_layer": 1, "vocab": 20, "d_state": 8, "dt_rank": 7},
    {"n_layer": 2},  # the widths of mamba-130m
]
MAMBA2 = [
    {"d_model": 16, "n_layer": 2, "vocab": 50, "d_state": 8, "head_dim": 8},
    {"d_model": 24, "n_layer": 3, "vocab": 33, "d_state": 6, "head_dim": 6, "n_groups": 2},
    {"d_model": 16, "n_layer": 1, "vocab": 20, "d_state": 4, "head_dim": 32, "d_conv": 2},
    {"n_layer": 2},  # the widths of mamba2-130m
]


def reference_model(name: str, p: Any) -> Any:
    """A model of transformers with random weights, in float64."""
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    sizes = {
        "hidden_size": p.d_model, "num_hidden_layers": p.n_layer, "vocab_size": p.vocab,
        "state_size": p.d_state, "conv_kernel": p.d_conv, "expand": p.expand,
        "tie_word_embeddings": True,
    }  # fmt: skip
    torch.manual_seed(3)
    if name == "mamba":
        config = transformers.MambaConfig(**sizes, time_step_rank=p.rank)
        model = transformers.MambaForCausalLM(config)
    else:
        config = transformers.Mamba2Config(
            **sizes, num_heads=p.heads, head_dim=p.head_dim, n_groups=p.n_groups
        )
        model = transformers.Mamba2ForCausalLM(config)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model.double().eval()


def compare(name: str, given: dict[str, Any], steps: int, chunk: int) -> None:
    """Logits of `steps` tokens, in chunks, from both."""
    torch = pytest.importorskip("torch")
    module = builder(name)
    changes = {key: value for key, value in given.items() if key != "chunk_length"}
    p = module.Parameters(**given)
    assert list(module.find_conflicts(p, chunk)) == []
    reference = reference_model(name, module.Parameters(**changes))
    arrays = {
        key: tensor.detach().float().numpy()
        for key, tensor in reference.state_dict().items()
        if key != "lm_head.weight"
    }
    tokens = np.random.default_rng(7).integers(p.vocab, size=steps)
    reference = reference.float().double()  # the very numbers that we have
    with torch.no_grad():
        expected = reference(torch.from_numpy(tokens)[None], use_cache=False).logits[0].numpy()
    model = module.build(p, chunk, ArrayWeights(arrays, "transformers"))
    assert model.num_parameters == sum(array.size for array in arrays.values())
    frames = {"tokens": tokens.astype(np.float32).reshape(-1, chunk)}
    found, _ = evaluate_stream(
        model.graph, frames, model.state, model.initial_state, keep=["logits"]
    )
    difference = abs(found["logits"].reshape(expected.shape) - expected).max()
    assert difference <= TOLERANCE * abs(expected).max()


@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize("sizes", MAMBA, ids=str)
def test_mamba_is_that_of_transformers(sizes: dict[str, Any], chunk: int) -> None:
    compare("mamba", sizes, 8, chunk)


@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize("sizes", MAMBA2, ids=str)
def test_mamba2_is_that_of_transformers(sizes: dict[str, Any], chunk: int) -> None:
    compare("mamba2", sizes, 8, chunk)


@pytest.mark.parametrize("length", [1, 2, 8])
@pytest.mark.parametrize("sizes", MAMBA2[:2], ids=str)
def test_the_chunked_form_is_that_of_transformers(sizes: dict[str, Any], length: int) -> None:
    compare("mamba2", sizes | {"form": "chunked", "chunk_length": length}, 16, 8)
