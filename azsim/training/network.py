"""The recogniser as a PyTorch module, with the tensors of the builder `rnnt_mlperf`.

Weights have the names, shapes and order of gates that the builder declares, so that what is trained
is what the chip runs: a matrix of the builder is one tensor here, and what compression does to it
is done to that tensor.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from azsim.errors import InputError

__all__ = ["Sizes", "Transducer", "dropout"]

Change = Callable[[str, Tensor], Tensor]
"""What becomes of a matrix (N, K), by its name, before it is used."""


@dataclass(frozen=True)
class Sizes:
    """Dimensions of the network, named as the builder's.

    Attributes
    ----------
    features, hidden, prediction, joint : int
    symbols : int
        Outputs; the last one is the blank.
    stack : int
        Feature frames that become one frame behind the first layer.
    post_layers : int
        Layers at the rate of the frames.
    """

    features: int = 120
    hidden: int = 128
    stack: int = 2
    post_layers: int = 2
    prediction: int = 64
    joint: int = 96
    symbols: int = 80


class Transducer(nn.Module):
    """Encoder, prediction network and joint network.

    Parameters
    ----------
    sizes : Sizes
    seed : int
        Of the first weights.
    """

    def __init__(self, sizes: Sizes, seed: int = 0) -> None:
        super().__init__()
        self.sizes = sizes
        self.change: Change | None = None
        self.drop: Callable[[Tensor], Tensor] | None = None
        generator = torch.Generator().manual_seed(seed)
        self.tensors = nn.ParameterDict()
        self._layers = ["encoder.pre.0", *(f"encoder.post.{n}" for n in range(sizes.post_layers))]
        widths = [sizes.features, sizes.stack * sizes.hidden, *[sizes.hidden] * sizes.post_layers]
        for name, width in zip(self._layers, widths, strict=False):
            self._add_lstm(name, width, sizes.hidden, generator)
        self._add("joint.encoder.W", (sizes.joint, sizes.hidden), sizes.hidden, generator)
        self._add("joint.encoder.b", (sizes.joint,), sizes.hidden, generator)
        rows = sizes.symbols - 1
        self._add("prediction.embedding", (rows, sizes.prediction), 3, generator)
        self._add_lstm("prediction.0", sizes.prediction, sizes.prediction, generator)
        self._add(
            "joint.prediction.W", (sizes.joint, sizes.prediction), sizes.prediction, generator
        )
        self._add("joint.output.W", (sizes.symbols, sizes.joint), sizes.joint, generator)
        self._add("joint.output.b", (sizes.symbols,), sizes.joint, generator)
        # Heads that only training needs: what a frame says by itself.
        self.frame_head = nn.Linear(sizes.hidden, sizes.symbols)
        with torch.no_grad():
            for parameter in self.frame_head.parameters():
                parameter.uniform_(-0.09, 0.09, generator=generator)

    def _add(
        self, name: str, shape: tuple[int, ...], fan_in: int, generator: torch.Generator
    ) -> None:
        bound = fan_in**-0.5
        values = torch.empty(shape).uniform_(-bound, bound, generator=generator)
        self.tensors[name.replace(".", "/")] = nn.Parameter(values)

    def _add_lstm(self, name: str, width: int, cells: int, generator: torch.Generator) -> None:
        self._add(f"{name}.W", (4 * cells, width), cells, generator)
        self._add(f"{name}.R", (4 * cells, cells), cells, generator)
        self._add(f"{name}.B", (8 * cells,), cells, generator)
        with torch.no_grad():  # remember, at first: the forget gate is the third
            self.tensors[f"{name}.B".replace(".", "/")][2 * cells : 3 * cells] = 1.0

    # ------------------------------------------------------------------------------- running

    def matrices(self) -> dict[str, nn.Parameter]:
        """Every matrix that the chip multiplies with, (N, K), by the builder's name."""
        return {
            name.replace("/", "."): tensor
            for name, tensor in self.tensors.items()
            if _is_multiplied_with(name, tensor)
        }

    def tensor(self, name: str) -> Tensor:
        """A tensor as it is used: changed, where a change is set and it is a matrix."""
        tensor = self.tensors[name.replace(".", "/")]
        if self.change is not None and _is_multiplied_with(name, tensor):
            return self.change(name, tensor)
        return tensor

    def _lstm(self, name: str, data: Tensor) -> Tensor:
        """Run a layer over (T, batch, width) from states of zeros; gives (T, batch, cells)."""
        # Gates: the builder's i, o, f, c are PyTorch's i, f, c, o.
        weight, recurrent = (_reordered(self.tensor(f"{name}.{key}")) for key in ("W", "R"))
        cells = recurrent.shape[1]
        first, second = self.tensor(f"{name}.B").split(4 * cells)
        state = data.new_zeros(1, data.shape[1], cells)
        flat = [weight, recurrent, _reordered(first), _reordered(second)]
        return torch.lstm(data, (state, state), flat, True, 1, 0.0, True, False, False)[0]

    def encode(self, features: Tensor) -> Tensor:
        """Encoder's results.

        Parameters
        ----------
        features : Tensor of shape (batch, T, features), float32
            T is a multiple of the stack.

        Returns
        -------
        Tensor of shape (batch, T / stack, hidden)
        """
        drop = self.drop or (lambda outputs: outputs)
        data = drop(self._lstm(self._layers[0], features.transpose(0, 1)))
        steps, batch, width = data.shape
        stack = self.sizes.stack
        data = data.view(steps // stack, stack, batch, width).transpose(1, 2)
        data = data.reshape(steps // stack, batch, stack * width)
        for name in self._layers[1:]:
            data = drop(self._lstm(name, data))
        return data.transpose(0, 1)

    def predict(self, labels: Tensor) -> Tensor:
        """Joint network's half after none, one, two ... of the labels.

        Parameters
        ----------
        labels : Tensor of shape (batch, U), int64
            What lies behind an utterance's end may be any symbol but the blank.

        Returns
        -------
        Tensor of shape (batch, U + 1, joint)
        """
        embedded = functional.embedding(labels, self.tensor("prediction.embedding"))
        start = embedded.new_zeros(embedded.shape[0], 1, embedded.shape[2])
        data = self._lstm("prediction.0", torch.cat([start, embedded], 1).transpose(0, 1))
        return functional.linear(data.transpose(0, 1), self.tensor("joint.prediction.W"))

    def encoder_half(self, encoded: Tensor) -> Tensor:
        """Joint network's half of each frame, (batch, frames, joint)."""
        weight, bias = self.tensor("joint.encoder.W"), self.tensor("joint.encoder.b")
        return functional.linear(encoded, weight, bias)

    def output(self, frames: Tensor, half: Tensor) -> Tensor:
        """Scores of every symbol: halves that broadcast against each other, (..., symbols)."""
        hidden = torch.relu(frames + half)
        return functional.linear(
            hidden, self.tensor("joint.output.W"), self.tensor("joint.output.b")
        )

    # --------------------------------------------------------------------------------- files

    def arrays(self) -> dict[str, np.ndarray]:
        """Every tensor as the builder wants it, changed as it is used; float32."""
        with torch.no_grad():
            return {
                name: np.ascontiguousarray(self.tensor(name).numpy().reshape(shape))
                for name, shape in self._shapes().items()
            }

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Transducer:
        """Make a network of the sizes that weights in the builder's form have.

        Raises
        ------
        InputError
            With every tensor that is missing or does not fit the others.
        """
        telling = {
            "hidden": "encoder.pre.0.R",
            "prediction": "prediction.0.R",
            "joint": "joint.output.W",
            "symbols": "joint.output.b",
        }
        missing = [name for name in telling.values() if name not in arrays]
        if missing:
            raise InputError("\n".join(f"tensor {name}: missing" for name in missing))
        network = cls(Sizes(**{size: arrays[name].shape[-1] for size, name in telling.items()}))
        network.load(arrays)
        return network

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take weights in the builder's form.

        Raises
        ------
        InputError
            With every tensor that is missing or has another shape.
        """
        shapes = self._shapes()
        wrong = [
            f"tensor {name}: "
            + ("missing" if name not in arrays else f"shape {arrays[name].shape}")
            + f", allowed: {shape}"
            for name, shape in shapes.items()
            if name not in arrays or arrays[name].shape != shape
        ]
        if wrong:
            raise InputError("\n".join(wrong))
        with torch.no_grad():
            for name in shapes:
                parameter = self.tensors[name.replace(".", "/")]
                parameter.copy_(torch.from_numpy(arrays[name]).view_as(parameter))

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes that the builder declares: those of an LSTM have an axis of directions."""
        shapes = {}
        for key, tensor in self.tensors.items():
            name = key.replace("/", ".")
            is_lstm = name.rsplit(".", 1)[1] in ("W", "R", "B") and not name.startswith("joint")
            shapes[name] = (1, *tensor.shape) if is_lstm else tuple(tensor.shape)
        return shapes


def dropout(share: float, seed: int) -> Callable[[Tensor], Tensor]:
    """Leave out a share of a layer's outputs, others for each utterance, the same in all frames.

    Parameters
    ----------
    share : float
    seed : int

    Returns
    -------
    callable
        Takes outputs of shape (frames, batch, width); each call draws anew.  What stays is scaled,
        so that the mean is kept.
    """
    generator = torch.Generator().manual_seed(seed)

    def drop(outputs: Tensor) -> Tensor:
        kept = torch.empty(outputs.shape[1:]).bernoulli_(1 - share, generator=generator)
        return outputs * (kept / (1 - share))

    return drop


def _is_multiplied_with(name: str, tensor: Tensor) -> bool:
    """Whether it is a matrix; of the embedding a row is taken, so no scheme is for it."""
    return tensor.ndim == 2 and not name.endswith("embedding")


def _reordered(tensor: Tensor) -> Tensor:
    """Rows from the builder's order of gates (i, o, f, c) to PyTorch's (i, f, c, o)."""
    inward, outward, forget, cell = tensor.chunk(4)
    return torch.cat([inward, forget, cell, outward])
