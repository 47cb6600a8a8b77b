"""Training: the loss against its plain definition, the network against azsim's own evaluation,
runs that repeat themselves, and weights that compress to themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from azsim.compression.scheme import resolve
from azsim.compression.spec import CompressionSpec, PruneSpec, Rule, WeightSpec
from azsim.errors import ConfigError, InputError
from azsim.evaluate import evaluate_stream
from azsim.models import builder
from azsim.models._weights import ArrayWeights

torch = pytest.importorskip("torch")

from azsim.studies._accuracy_vs_cost import anew  # noqa: E402
from azsim.training import collection  # noqa: E402
from azsim.training.aware import compressed, sparsity_at  # noqa: E402
from azsim.training.batches import Augment, batch_of, batches  # noqa: E402
from azsim.training.collection import models, train_all  # noqa: E402
from azsim.training.decode import decode_greedily  # noqa: E402
from azsim.training.lattice import transducer_loss  # noqa: E402
from azsim.training.network import Sizes, Transducer, dropout  # noqa: E402
from azsim.training.recipe import (  # noqa: E402
    Compression,
    FlatStart,
    Recipe,
    load_recipe,
    recipe_names,
)
from azsim.training.run import write_weights  # noqa: E402
from azsim.training.train import Trained, train, validate  # noqa: E402


class Tones:
    """Made-up utterances: each word is a tone of six feature frames, in noise."""

    copies = 2

    def __init__(self, count: int, seed: int, width: int = 120) -> None:
        generator = np.random.default_rng(seed)
        tones = 2 * np.random.default_rng(99).standard_normal((6, 1, width)).astype(np.float32)
        patterns = np.repeat(tones, 6, axis=1)
        self.labels = [
            generator.integers(0, 6, generator.integers(0, 4)).tolist() for _ in range(count)
        ]
        self.arrays, self.spans = [], []
        for labels in self.labels:
            parts = [np.zeros((4, width)), *patterns[labels], np.zeros((10, width))]
            rows = np.concatenate(parts).astype(np.float32)
            noise = generator.standard_normal((2, *rows.shape)).astype(np.float32)
            self.arrays.append(rows + 0.2 * noise)
            self.spans.append((2, 2 + 3 * len(labels)))
        self.frames = np.array([array.shape[1] // 2 for array in self.arrays])

    def features(self, utterance: int, copy: int) -> np.ndarray:
        return self.arrays[utterance][copy]

    def snr_db(self, utterance: int, copy: int) -> float:
        return 20.0 if copy else 5.0

    def span(self, utterance: int) -> tuple[int, int]:
        first, last = self.spans[utterance]
        return first, min(last, int(self.frames[utterance]) - 1)


TRAINING, DEVELOPMENT = Tones(120, 1), Tones(20, 2)


def recipe(**values: Any) -> Recipe:
    small = {"hidden": 16, "prediction": 8, "joint": 12, "batch": 8, "validate_steps": 1000}
    return Recipe(**{"name": "test", "unit": "words", "steps": 12, **small, **values})


def run(what: Recipe, **more: Any) -> Trained:
    return train(what, TRAINING, DEVELOPMENT, **more)


# -------------------------------------------------------------------------------------- loss


def plain_loss(blank: Any, label: Any, frames: int, length: int) -> Any:
    """Sum over alignments, state by state."""
    before: dict[tuple[int, int], Any] = {(0, 0): torch.zeros((), dtype=torch.float64)}
    for t in range(frames):
        for u in range(length + 1):
            terms = []
            if t:
                terms.append(before[t - 1, u] + blank[t - 1, u])
            if u:
                terms.append(before[t, u - 1] + label[t, u - 1])
            if terms:
                before[t, u] = torch.logsumexp(torch.stack(terms), 0)
    return -(before[frames - 1, length] + blank[frames - 1, length])


@pytest.mark.parametrize("seed", range(8))
def test_loss_is_that_of_autograd(seed: int) -> None:
    generator = np.random.default_rng(seed)
    batch, T, U = (int(n) for n in generator.integers((1, 1, 0), (5, 9, 6)))
    frames = torch.from_numpy(generator.integers(1, T + 1, batch))
    lengths = torch.from_numpy(generator.integers(0, U + 1, batch))
    scores = torch.from_numpy(3 * generator.standard_normal((batch, T, U + 1, 5)))
    log = scores.log_softmax(-1).float()
    mine = [log[..., k].clone().requires_grad_() for k in (0, 1)]
    plain = [log[..., k].double().clone().requires_grad_() for k in (0, 1)]
    factors = torch.arange(1.0, batch + 1)
    found = transducer_loss(mine[0], mine[1], frames, lengths)
    wanted = torch.stack(
        [
            plain_loss(plain[0][b], plain[1][b], int(frames[b]), int(lengths[b]))
            for b in range(batch)
        ]
    )
    (found * factors).sum().backward()
    (wanted * factors).sum().backward()
    np.testing.assert_allclose(found.detach(), wanted.detach(), rtol=1e-6)
    for one, other in zip(mine, plain, strict=True):
        expected = torch.zeros_like(one) if other.grad is None else other.grad
        np.testing.assert_allclose(one.grad, expected, atol=1e-6)


# ----------------------------------------------------------------------------------- network


def test_network_is_the_builders() -> None:
    """Same symbols and the same encoder as azsim's own evaluation, with the same weights."""
    sizes = Sizes(hidden=32, prediction=16, joint=24, symbols=12)
    network = Transducer(sizes, seed=5)
    with torch.no_grad():
        network.tensors["joint/output/W"] *= 8  # so that what is heard decides
    module = builder("rnnt_mlperf")
    parameters = module.Parameters(
        features=120, hidden=32, pre_layers=1, stack=2, post_layers=2, symbols=12,
        prediction=16, prediction_layers=1, joint=24, max_symbols=2,
    )  # fmt: skip
    model = module.build(parameters, 1, ArrayWeights(network.arrays(), "test"))
    features = np.random.default_rng(3).standard_normal((30, 120)).astype(np.float32)
    frames = {"features": features.reshape(15, 2, 120)}
    found, _ = evaluate_stream(model.graph, frames, model.state, model.initial_state)
    data = torch.from_numpy(features)[None]
    with torch.no_grad():
        halves = network.encoder_half(network.encode(data))[0].numpy()
    np.testing.assert_allclose(found["encoded"][:, 0], halves, atol=1e-5)
    said = decode_greedily(network, data, torch.tensor([15]), 2)[0]
    symbols = found["symbols"].reshape(-1)
    assert said == [int(symbol) for symbol in symbols if symbol >= 0]
    assert len(said) > 3


def test_weights_come_back() -> None:
    first, second = Transducer(Sizes(hidden=8), 0), Transducer(Sizes(hidden=8), 1)
    second.load(first.arrays())
    for name, array in first.arrays().items():
        assert (array == second.arrays()[name]).all()


# ----------------------------------------------------------------------------------- batches


def test_epoch_holds_every_utterance_once() -> None:
    rows = batches(TRAINING, 8, epoch=3, seed=4, least_db=-np.inf)
    utterances = [utterance for row in rows for utterance, _ in row]
    assert len(set(utterances)) == len(utterances) == 120
    assert rows == batches(TRAINING, 8, epoch=3, seed=4, least_db=-np.inf)
    assert rows != batches(TRAINING, 8, epoch=4, seed=4, least_db=-np.inf)


def test_labels_are_stretched_over_the_speech() -> None:
    utterance = next(u for u, labels in enumerate(TRAINING.labels) if len(labels) == 2)
    first, second = TRAINING.labels[utterance]
    batch = batch_of(TRAINING, [(utterance, 1)], stack=2, blank=79)
    silence = [79, 79, 79, 79]  # two frames before the speech, and two late
    assert batch.targets[0].tolist() == [*silence, *[first] * 4, *[second] * 3, 79, 79]
    assert batch.labels[0].tolist() == [first, second]


def test_noisy_copies_are_left_out_at_first() -> None:
    rows = batches(TRAINING, 8, epoch=0, seed=0, least_db=12)
    assert {copy for row in rows for _, copy in row} == {1}


def test_masks_hide_and_leave_the_source_alone() -> None:
    before = TRAINING.features(0, 0).copy()
    generator = np.random.default_rng(0)
    augment = Augment(mask_bands=6, mask_frames=4, warp=0.1)
    batch = batch_of(TRAINING, [(0, 0)], stack=2, blank=79, augment=augment, generator=generator)
    assert (batch.features == 0).any()
    assert (TRAINING.features(0, 0) == before).all()


# ----------------------------------------------------------------------------------- running


def test_loss_falls() -> None:
    still = {"mask_bands": 0, "mask_frames": 0, "warp": 0.0, "channel": 0.0}
    what = recipe(steps=120, validate_steps=20, flat_start=FlatStart(), **still)
    losses = [entry.loss for entry in run(what).history]
    assert losses[-1] < 0.25 * losses[0]


def test_training_repeats_itself_and_resumes(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("azsim.training.train._CHECKPOINT_STEPS", 7)
    spec = CompressionSpec(Rule(weights=WeightSpec(bits=4, quantizer="kmeans")))
    aware = Compression(refresh_steps=5, learn_palette=True)
    what = recipe(compression=spec, aware=aware, dropout=0.3)
    whole = run(what)

    class StopError(Exception):
        """Stands for a kill."""

    def watch(step: int, *rest: Any) -> None:
        if step == 9:
            raise StopError

    with pytest.raises(StopError):
        run(what, folder=tmp_path, watch=watch)
    resumed = run(what, folder=tmp_path, resume=True)
    for name, array in whole.arrays.items():
        assert (array == resumed.arrays[name]).all(), name


def test_dropout_leaves_outputs_out_for_an_utterance_and_keeps_their_mean() -> None:
    drop = dropout(0.25, 1)
    first, second = (drop(torch.ones(5, 40, 500)).numpy() for _ in range(2))
    assert set(np.unique(first)) == {0.0, np.float32(1 / 0.75)}
    assert (first == first[0]).all()
    assert not (first == second).all()
    assert abs(first.mean() - 1) < 0.02


def test_dropout_is_in_steps_and_not_in_validation() -> None:
    kept, left_out = (run(recipe(dropout=share)) for share in (0.0, 0.3))
    assert any((kept.arrays[name] != left_out.arrays[name]).any() for name in kept.arrays)
    network = Transducer.of({k: v.astype(np.float32) for k, v in left_out.arrays.items()})
    again = validate(network, DEVELOPMENT, 2)
    assert again.loss == pytest.approx(left_out.history[-1].loss, rel=1e-2)  # in half precision


def test_checkpoint_of_another_recipe_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("azsim.training.train._CHECKPOINT_STEPS", 2)
    run(recipe(steps=2), folder=tmp_path)
    with pytest.raises(InputError, match="a checkpoint of another recipe; give another folder"):
        run(recipe(steps=3), folder=tmp_path, resume=True)


# ------------------------------------------------------------------------------- compression


def matrices_of(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = [name for name in arrays if name.endswith((".W", ".R"))]
    return {name: arrays[name].reshape(arrays[name].shape[-2:]) for name in names}


@pytest.mark.parametrize(
    "name", [name for name in recipe_names() if load_recipe(name)[0].compression is not None]
)
def test_what_is_stored_compresses_to_what_was_trained(name: str) -> None:
    """Of every recipe: compressing the file gives the weights that the last step would run with."""
    loaded, _ = load_recipe(name)
    assert loaded.compression is not None
    what = recipe(compression=loaded.compression, aware=loaded.aware, steps=20)
    arrays = matrices_of(run(what).arrays)
    rules = resolve(loaded.compression, tuple(arrays))
    once = compressed(arrays, rules)
    for matrix, rule in zip(once.values(), rules.values(), strict=True):
        if rule.prune_method in ("magnitude", "balanced"):
            assert (matrix == 0).mean() >= rule.sparsity - 1 / matrix.size
        assert len(np.unique(matrix[0])) <= 2**rule.weight_bits
    palettes = "kmeans", "lloyd_max"  # chosen anew, so that these keep the weights themselves
    if rules["encoder.pre.0.W"].quantizer not in palettes:
        for key, matrix in once.items():
            assert (matrix == arrays[key]).all(), key


def test_sparsity_grows_as_a_cubic() -> None:
    assert sparsity_at(0.75, 0.0, 0.6) == 0
    assert sparsity_at(0.75, 0.3, 0.6) == pytest.approx(0.75 * (1 - 0.5**3))
    assert sparsity_at(0.75, 0.6, 0.6) == sparsity_at(0.75, 1.0, 0.6) == 0.75


def test_pulled_weights_end_on_their_codes() -> None:
    spec = CompressionSpec(Rule(weights=WeightSpec(bits=3), prune=PruneSpec(sparsity=0.5)))
    aware = Compression(method="regularised")
    pulled = matrices_of(run(recipe(compression=spec, aware=aware)).arrays)
    for matrix in pulled.values():
        assert len(np.unique(np.abs(matrix[0]))) <= 4


# ------------------------------------------------------------------------------------ recipes


def test_recipes_say_all_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("name: bad\nunit: phones\nsteps: 0\ncompression: {default: {prune: {n: 1}}}\n")
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(path))
    text = "\n".join(caught.value.problems)
    assert "$.unit: not one of the choices, found the string 'phones'" in text
    assert "$.steps: out of range, found 0, allowed: an integer from 1 to 1000000" in text


@pytest.mark.parametrize("jobs", [1, 3])
def test_models_are_trained_after_what_they_begin_with(
    tmp_path: Path, monkeypatch: Any, jobs: int
) -> None:
    begun: list[str] = []

    def train_one(model: Any, corpus: Path, output: Path, tell: Any) -> str:
        begun.append(model.name)
        for other in model.needs:
            assert (output / f"{other}.npz").exists()
        (output / f"{model.name}.npz").write_bytes(b"")
        return "char_second: no room" if model.name == "char_second" else ""

    monkeypatch.setattr(collection, "_train", train_one)
    with pytest.raises(InputError, match=r"^char_second: no room$"):
        train_all(tmp_path, tmp_path / "models", pattern="char_w4", jobs=jobs)
    assert begun == ["char_first", "char_second"]
    train_all(tmp_path, tmp_path / "models", pattern="char_w4*", jobs=jobs)
    assert len(begun) == len(set(begun))
    assert {"char_float", "char_teacher", "char_w4", "char_w4_s75_student"} <= set(begun)


def test_weights_of_another_network_are_an_error() -> None:
    with pytest.raises(InputError) as caught:
        run(recipe(), start={"prediction.embedding": np.zeros((79, 8), np.float32)[:70]})
    lines = str(caught.value).splitlines()
    begin = "weights to begin with: tensor"
    assert f"{begin} prediction.embedding: shape (70, 8), allowed: (79, 8)" in lines
    assert f"{begin} encoder.pre.0.W: missing, allowed: (1, 64, 120)" in lines
    with pytest.raises(InputError) as caught:
        run(recipe(), teacher={"joint.output.b": np.zeros(80, np.float32)})
    assert str(caught.value).splitlines()[0] == (
        "weights of the teacher: tensor encoder.pre.0.R: missing"
    )


def test_a_damaged_checkpoint_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    for damaged in (b"", b"no archive", b"PK\x03\x04"):
        path.write_bytes(damaged)
        with pytest.raises(InputError) as caught:
            run(recipe(), folder=tmp_path, resume=True)
        assert str(caught.value) == f"{path}: no checkpoint, or a damaged one; delete it"


def test_models_come_with_what_they_begin_with() -> None:
    names = [model.name for model in models("char_w4_s75_student")]
    assert names == [
        "char_first",
        "char_second",
        "char_last0",
        "char_last1",
        "char_float",
        "char_teacher",
        "char_w4_s75_student",
    ]
    every = [model.name for model in models()]
    assert len(set(every)) == len(every)
    assert not models("nothing")
    assert {model.name for model in models("word_*_2")} >= {"word_float_2", "word_w3_2"}
    assert "word_s90_2" not in {model.name for model in models()}
    for model in models():
        if model.mean_of:
            assert not model.recipe
            continue
        loaded, _ = load_recipe(model.recipe, model.overrides)
        assert (model.teacher is not None) == (loaded.teacher is not None)


def test_what_the_study_is_made_of_is_made_once(tmp_path: Path, monkeypatch: Any) -> None:
    """Corpus, then the models that are missing; again after it was ended, only what is missing."""
    made: list[str] = []

    def make_corpus(folder: Path, *rest: Any) -> None:
        made.append("corpus")
        (folder / "corpus.json").write_text('{"made_by": "azsim corpus"}')

    def train_one(model: Any, corpus: Path, output: Path, tell: Any) -> str:
        assert (corpus / "corpus.json").is_file()
        made.append(model.name)
        if len(made) == 5:
            return "it was ended"
        (output / f"{model.name}.npz").write_bytes(b"")
        tell(model.name)
        return ""

    monkeypatch.setattr(anew, "make_corpus", make_corpus)
    monkeypatch.setattr(anew.engines, "check_installed", lambda: None)
    monkeypatch.setattr(anew, "check_room", lambda *rest: None)
    monkeypatch.setattr(anew, "cores", lambda: 1)
    monkeypatch.setattr(collection, "_train", train_one)
    told: list[tuple[str, int, int]] = []
    with pytest.raises(InputError, match="it was ended"):
        anew.make_weights(tmp_path / "work", lambda *now: told.append(now))
    first = list(made)
    weights = anew.make_weights(tmp_path / "work", lambda *now: told.append(now))
    names = [model.name for model in models()]
    assert sorted(first[:4] + made[5:]) == sorted(["corpus", *names])
    assert told[-1] == ("training", len(names), len(names))
    assert {path.stem for path in weights.glob("*.npz")} == set(names)


def test_a_float_model_is_the_mean_of_its_last_rounds(tmp_path: Path) -> None:
    """The file of a mean: each tensor, as float16, and the same bytes each time."""
    model = next(model for model in models() if model.name == "word_float")
    assert model.mean_of == ("word_last0", "word_last1", "word_last2")
    last = [Transducer(Sizes(), seed).arrays() for seed in range(3)]
    for name, arrays in zip(model.mean_of, last, strict=True):
        write_weights(tmp_path / f"{name}.npz", arrays)
    said: list[str] = []
    for _ in range(2):
        assert collection._train(model, tmp_path, tmp_path, said.append) == ""
    assert said == ["word_float: the mean of word_last0, word_last1, word_last2"] * 2
    with np.load(tmp_path / "word_float.npz") as found:
        assert set(found) == set(last[0])
        for name, array in found.items():
            mean = (last[0][name].astype(np.float64) + last[1][name] + last[2][name]) / 3
            assert array.dtype == np.float16
            assert np.array_equal(array, mean.astype(np.float16))
