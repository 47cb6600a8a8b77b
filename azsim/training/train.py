"""The training loop: steps, validation, checkpoints."""

# pyright: reportMissingImports=false

from __future__ import annotations

import contextlib
import math
import os
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from azsim.errors import InputError
from azsim.speech.grammar import CHARACTERS, WORDS
from azsim.training.aware import AwareTraining
from azsim.training.batches import Augment, Batch, Utterances, batch_of, batches
from azsim.training.decode import decode_greedily
from azsim.training.network import Sizes, Transducer, dropout
from azsim.training.objective import Weights, losses
from azsim.training.recipe import Recipe
from azsim.word_errors import word_errors

__all__ = ["Trained", "Validation", "train", "validate"]

_CHECKPOINT = "checkpoint.pt"
_CHECKPOINT_STEPS = 500
_VALIDATION_BATCH = 64

Watch = Callable[[int, int, float, "Validation | None"], None]
"""Told the step, the number of steps, the smoothed loss, and what a validation found."""


@dataclass(frozen=True)
class Validation:
    """Measured on utterances that are not trained on.

    Attributes
    ----------
    step : int
    loss : float
        Transducer's loss of an utterance, natural logarithm.
    listening : float
        How much larger it is with the sound of another utterance: near 0, the network does not
        listen.
    error_rate : float
        Errors over units, words or characters as the recipe says.
    """

    step: int
    loss: float
    listening: float
    error_rate: float


@dataclass(frozen=True)
class Trained:
    """Weights and how it went.

    Attributes
    ----------
    arrays : dict of str to ndarray
        By the builder's names; float16, and float32 where the recipe's scheme compresses.
    history : list of Validation
    seconds : float
    """

    arrays: dict[str, np.ndarray]
    history: list[Validation]
    seconds: float


def train(
    recipe: Recipe,
    training: Utterances,
    development: Utterances,
    *,
    start: dict[str, np.ndarray] | None = None,
    teacher: dict[str, np.ndarray] | None = None,
    folder: Path | None = None,
    resume: bool = False,
    watch: Watch | None = None,
) -> Trained:
    """Train a network.

    Parameters
    ----------
    recipe : Recipe
    training, development : Utterances
    start : dict of str to ndarray, optional
        Weights to begin with.
    teacher : dict of str to ndarray, optional
        Weights of the recipe's teacher.
    folder : Path, optional
        Where the checkpoint is kept.
    resume : bool
        Go on from it.
    watch : callable, optional

    Returns
    -------
    Trained
        The same from the same arguments, however often it was interrupted, with one thread.
    """
    torch.set_num_threads(1)
    run = _Run(recipe, training, development, start, teacher)
    path = None if folder is None else folder / _CHECKPOINT
    if resume and path is not None and path.exists():
        run.load(path)
    begin = time.perf_counter() - run.seconds
    while run.step < recipe.steps:
        run.advance()
        run.seconds = time.perf_counter() - begin
        found = None
        if run.step % recipe.validate_steps == 0 or run.step == recipe.steps:
            found = run.validate()
        if watch is not None:
            watch(run.step, recipe.steps, run.smoothed, found)
        if path is not None and run.step % _CHECKPOINT_STEPS == 0:
            run.save(path)
    return Trained(run.arrays(), run.history, run.seconds)


class _Run:
    """All that changes from step to step."""

    def __init__(
        self,
        recipe: Recipe,
        training: Utterances,
        development: Utterances,
        start: dict[str, np.ndarray] | None,
        teacher: dict[str, np.ndarray] | None,
    ) -> None:
        self.recipe, self.training, self.development = recipe, training, development
        sizes = Sizes(
            hidden=recipe.hidden,
            prediction=recipe.prediction,
            joint=recipe.joint,
            symbols=len(WORDS if recipe.unit == "words" else CHARACTERS) + 1,
        )
        self.network = Transducer(sizes, recipe.seed)
        if start is not None:
            with _naming("weights to begin with"):
                self.network.load(start)
        self.teacher = None
        if teacher is not None:
            with _naming("weights of the teacher"):
                self.teacher = Transducer.of(teacher)
        self.aware = None
        if recipe.compression is not None:
            matrices = self.network.matrices()
            self.aware = AwareTraining(recipe.compression, recipe.aware, matrices)
            self.aware.start_step(0, recipe.steps)
            self.network.change = self.aware
        groups: list[dict[str, Any]] = [{"params": list(self.network.parameters())}]
        if self.aware is not None and self.aware.parameters():
            groups.append({"params": self.aware.parameters(), "weight_decay": 0.0})
        self.optimizer = torch.optim.AdamW(
            groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.step, self.seconds, self.smoothed = 0, 0.0, math.nan
        self.history: list[Validation] = []
        self._epoch, self._first_step = -1, 0
        self._rows: list[list[tuple[int, int]]] = []

    # --------------------------------------------------------------------------------- steps

    def advance(self) -> None:
        """One step of the optimizer."""
        recipe = self.recipe
        progress = self.step / recipe.steps
        batch = self._batch()
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        if self.aware is not None:
            self.aware.start_step(self.step, recipe.steps)
        flat = recipe.flat_start
        frame = 0.0
        if flat is not None and progress < flat.until:
            frame = flat.weight * (1 - progress / flat.until)
        weights = Weights(frame, recipe.ctc, recipe.teacher.weight if recipe.teacher else 0.0)
        if recipe.dropout:
            # Of seed and step alone, so that a run that goes on draws the same.
            self.network.drop = dropout(recipe.dropout, 1_000_003 * recipe.seed + self.step)
        found = losses(self.network, batch, weights, self.teacher)
        self.network.drop = None
        self.optimizer.zero_grad()
        found.total.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
        self.optimizer.step()
        if self.aware is not None:
            self.aware.finish_step()
        is_first = math.isnan(self.smoothed)
        self.smoothed = (
            found.transducer if is_first else 0.98 * self.smoothed + 0.02 * found.transducer
        )
        self.step += 1

    def _learning_rate(self) -> float:
        recipe, step = self.recipe, self.step
        rate = recipe.learning_rate
        if step < recipe.warmup_steps:
            return rate * (step + 1) / recipe.warmup_steps
        decay = (step / recipe.steps - recipe.decay_from) / max(1e-9, 1 - recipe.decay_from)
        return rate * 0.5 * (1 + math.cos(math.pi * max(0.0, decay)))

    def _batch(self) -> Batch:
        recipe = self.recipe
        while self.step - self._first_step >= len(self._rows):
            self._first_step += len(self._rows)
            self._epoch += 1
            self._rows = batches(
                self.training,
                recipe.batch,
                self._epoch,
                recipe.seed,
                self._least_db(),
                recipe.silence,
            )
        chosen = self._rows[self.step - self._first_step]
        return batch_of(
            self.training,
            chosen,
            stack=self.network.sizes.stack,
            blank=self.network.sizes.symbols - 1,
            augment=Augment(recipe.mask_bands, recipe.mask_frames, recipe.warp, recipe.channel),
            generator=np.random.default_rng([recipe.seed, 1, self.step]),
        )

    def _least_db(self) -> float:
        """Of an epoch, by the step that it begins at."""
        flat = self.recipe.flat_start
        is_clean = flat is not None and self._first_step < flat.clean_until * self.recipe.steps
        return flat.clean_db if flat is not None and is_clean else -math.inf

    # ---------------------------------------------------------------------------- validation

    def validate(self) -> Validation:
        """Measure on the development set and remember it."""
        found = validate(self.network, self.development, self.recipe.max_symbols, self.step)
        self.history.append(found)
        return found

    def arrays(self) -> dict[str, np.ndarray]:
        """Weights as they are to be stored: in half precision where no scheme says otherwise."""
        change, self.network.change = self.network.change, None
        arrays = {name: array.astype(np.float16) for name, array in self.network.arrays().items()}
        self.network.change = change
        if self.aware is not None:
            for name, values in self.aware.to_store().items():
                arrays[name] = values.reshape(arrays[name].shape)
        return arrays

    # ---------------------------------------------------------------------------- checkpoint

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        state = {
            "recipe": repr(self.recipe),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "aware": None if self.aware is None else self.aware.state(),
            "step": self.step,
            "smoothed": self.smoothed,
            "seconds": self.seconds,
            "history": [asdict(entry) for entry in self.history],
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of the same recipe."""
        try:
            state: dict[str, Any] = torch.load(path, weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
            raise InputError(f"{path}: no checkpoint, or a damaged one; delete it") from None
        if state["recipe"] != repr(self.recipe):
            raise InputError(f"{path}: a checkpoint of another recipe; give another folder")
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.aware is not None:
            self.aware.load(state["aware"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.smoothed = state["smoothed"]
        self.history = [Validation(**entry) for entry in state["history"]]


@contextlib.contextmanager
def _naming(what: str) -> Iterator[None]:
    """Say whose tensors are wrong."""
    try:
        yield
    except InputError as error:
        lines = str(error).splitlines()
        raise InputError("\n".join(f"{what}: {line}" for line in lines)) from None


def validate(
    network: Transducer, utterances: Utterances, max_symbols: int, step: int = 0
) -> Validation:
    """Loss and errors on a set.

    Parameters
    ----------
    network : Transducer
    utterances : Utterances
        The first copy of each counts.
    max_symbols : int
        That a frame gives at most.
    step : int
        What the result is marked with.
    """
    order = np.argsort(utterances.frames, kind="stable")
    loss = strange = 0.0
    errors = units = 0
    with torch.no_grad():
        for first in range(0, len(order), _VALIDATION_BATCH):
            chosen = [(int(u), 0) for u in order[first : first + _VALIDATION_BATCH]]
            stack, blank = network.sizes.stack, network.sizes.symbols - 1
            batch = batch_of(utterances, chosen, stack=stack, blank=blank)
            loss += losses(network, batch, Weights()).transducer * len(chosen)
            rolled = Batch(
                batch.features.roll(1, 0), batch.frames, batch.labels, batch.lengths, batch.targets
            )
            strange += losses(network, rolled, Weights()).transducer * len(chosen)
            heard = decode_greedily(network, batch.features, batch.frames, max_symbols)
            for (utterance, _), symbols in zip(chosen, heard, strict=True):
                said = utterances.labels[utterance]
                errors += word_errors(_names(said), _names(symbols)).errors
                units += len(said)
    count = len(order)
    return Validation(step, loss / count, (strange - loss) / count, errors / max(1, units))


def _names(symbols: Sequence[int]) -> list[str]:
    """Symbols as the words that errors are counted in."""
    return [str(int(symbol)) for symbol in symbols]
