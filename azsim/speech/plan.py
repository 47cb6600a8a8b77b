"""What the corpus holds, drawn from one seed before anything is spoken."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from azsim.errors import InputError
from azsim.speech.engines import SAMPLE_RATE_HZ, Request
from azsim.speech.grammar import random_words, sentences
from azsim.speech.noise import KINDS, SPEECH_KINDS
from azsim.speech.voices import ACCENTS, Speaker, speakers_of

__all__ = ["SETS", "TEST_SNR_DB", "Mixing", "PlannedUtterance", "Settings", "chosen_sets", "plan"]

SETS = (
    "train",
    "development",
    "unseen_voices",
    "unseen_engines",
    "noise_only",
    "out_of_vocabulary",
)
TEST_SNR_DB = 15.0

_RANDOM_WORDS_SHARE = 0.15
_NO_SPEECH_SHARE = 0.04
_TRAIN_SNR_DB = (5.0, 40.0)
_TRAIN_GAIN_DB = (-18.0, 3.0)
_TEST_GAIN_DB = (-12.0, 0.0)
_NOISE_GAIN_DB = (-60.0, 0.0)
_SPEEDS = {"espeak-ng": (0.85, 1.25), "flite": (0.9, 1.2), "festival": (0.9, 1.2)}
_PITCHES = {"espeak-ng": (0.7, 1.3), "flite": (0.9, 1.1), "festival": (0.9, 1.1)}
_TRAIN_PITCHES = {**_PITCHES, "flite": (0.75, 1.3)}  # few people, so each is several
_SIZE_STEPS = {"espeak-ng": 3, "flite": 7}  # of 2.5 %, up and down
_LEAD_S, _TRAIL_S = (0.1, 0.4), (0.4, 0.7)
_NOISE_S = (2.0, 5.0)
_MOST_UTTERANCES = 1_000_000

_FOREIGN = (
    *("dishwasher", "umbrella", "bicycle", "chocolate", "elephant", "mountain", "violin"),
    *("sandwich", "passport", "hospital", "dictionary", "football", "thunder", "pyramid"),
    *("vegetable", "airport"),
)
_FOREIGN_LINES = (
    "turn on the {}",
    "turn the {} off",
    "where did you put the {}",
    "play the {} in the kitchen",
    "how much does a {} cost",
    "show me my {}",
    "i cannot find my {} anywhere",
)


def chosen_sets(text: str | None) -> tuple[str, ...]:
    """Read names of sets with commas between; all of them for None.

    Raises
    ------
    InputError
        With all names that are unknown.
    """
    if text is None:
        return SETS
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in dict.fromkeys(names) if name not in SETS]
    if unknown:
        raise InputError(
            "\n".join(
                f"corpus: unknown set {name!r}, allowed: {', '.join(SETS)}" for name in unknown
            )
        )
    return tuple(name for name in SETS if name in names)


@dataclass(frozen=True)
class Settings:
    """How large the corpus is.

    Attributes
    ----------
    seed : int
        The same seed and the same engines give the same bytes.
    utterances : int
        Of training.
    copies : int
        Features of training, each with other noise and gain.
    tests : int
        Utterances of `unseen_voices` and of `unseen_engines`; no other test set has more.
    """

    seed: int = 0
    utterances: int = 16_000
    copies: int = 3
    tests: int = 1_000

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises
        ------
        InputError
            With all that is out of range.
        """
        ranges = {
            "seed": (0, 2**32 - 1),
            "utterances": (1, _MOST_UTTERANCES),
            "copies": (1, 16),
            "tests": (1, 100_000),
        }
        wrong = [
            f"{key} out of range, found {getattr(self, key)}, allowed: {low} to {high}"
            for key, (low, high) in ranges.items()
            if not low <= getattr(self, key) <= high
        ]
        if wrong:
            raise InputError("\n".join(f"corpus: {sentence}" for sentence in wrong))

    def size(self, name: str) -> int:
        """Return how many utterances a set has."""
        if name == "train":
            return self.utterances
        largest = {"development": 300, "noise_only": 200, "out_of_vocabulary": 100}
        return min(self.tests, largest.get(name, self.tests))


@dataclass(frozen=True)
class Mixing:
    """How an utterance is heard: noise and level, and whether through another channel."""

    noise: str
    snr_db: float
    gain_db: float
    is_coloured: bool


@dataclass(frozen=True)
class PlannedUtterance:
    """One utterance before it is spoken.

    Attributes
    ----------
    text : str
        Empty without speech.
    speaker : Speaker or None
    request : Request or None
    before, after : int
        Samples of silence.
    mixings : tuple of Mixing
        One a copy.
    """

    text: str
    speaker: Speaker | None
    request: Request | None
    before: int
    after: int
    mixings: tuple[Mixing, ...]


def plan(settings: Settings, name: str) -> list[PlannedUtterance]:
    """Draw a set.

    Parameters
    ----------
    settings : Settings
    name : str
        One of `SETS`.
    """
    generator = np.random.default_rng([settings.seed, SETS.index(name)])
    texts = itertools.islice(_texts(name, generator), settings.size(name))
    copies = settings.copies if name == "train" else 1
    return [_planned(text, name, generator, copies) for text in texts]


def _texts(name: str, generator: np.random.Generator) -> Iterator[str]:
    if name == "noise_only":
        return itertools.repeat("")
    if name == "out_of_vocabulary":
        every = [line.format(word) for word in _FOREIGN for line in _FOREIGN_LINES]
        return iter([every[i] for i in generator.permutation(len(every))])
    if name == "train":
        return _training_texts(generator)
    return sentences(generator, name if name == "development" else "test")


def _training_texts(generator: np.random.Generator) -> Iterator[str]:
    ordered = sentences(generator, "train")
    free = random_words(generator, "train")
    while True:
        kind = generator.random()
        if kind < _NO_SPEECH_SHARE:
            yield ""
        else:
            yield next(free if kind < _NO_SPEECH_SHARE + _RANDOM_WORDS_SHARE else ordered)


def _planned(text: str, name: str, generator: np.random.Generator, copies: int) -> PlannedUtterance:
    is_training = name == "train"
    mixings = tuple(_mixing(text, name, generator) for _ in range(copies))
    if not text:
        length = round(generator.uniform(*_NOISE_S) * SAMPLE_RATE_HZ)
        return PlannedUtterance("", None, None, length, 0, mixings)
    heard_in = {"development": "train", "out_of_vocabulary": "unseen_voices"}.get(name, name)
    speaker = _choose(speakers_of(heard_in), generator)
    engine = speaker.engine
    most = _SIZE_STEPS.get(engine, 0) if is_training else 0
    request = Request(
        text,
        engine,
        speaker.voices[generator.integers(len(speaker.voices))],
        _accent(generator) if engine == "espeak-ng" else "",
        _rounded(generator.uniform(*_SPEEDS[engine])),
        _rounded(generator.uniform(*(_TRAIN_PITCHES if is_training else _PITCHES)[engine])),
        1 + 0.025 * int(generator.integers(-most, most + 1)),
    )
    before, after = (
        round(generator.uniform(*range_s) * SAMPLE_RATE_HZ) for range_s in (_LEAD_S, _TRAIL_S)
    )
    return PlannedUtterance(text, speaker, request, before, after, mixings)


def _rounded(value: float) -> float:
    return round(float(value), 3)


def _choose(speakers: Sequence[Speaker], generator: np.random.Generator) -> Speaker:
    shares = np.array([speaker.share for speaker in speakers])
    return speakers[generator.choice(len(speakers), p=shares / shares.sum())]


def _accent(generator: np.random.Generator) -> str:
    shares = np.array(list(ACCENTS.values()), float)
    return list(ACCENTS)[generator.choice(len(shares), p=shares / shares.sum())]


def _mixing(text: str, name: str, generator: np.random.Generator) -> Mixing:
    is_training = name == "train"
    kinds = SPEECH_KINDS if text else KINDS
    kind = kinds[generator.integers(len(kinds))]
    snr_db = generator.uniform(*_TRAIN_SNR_DB) if is_training else TEST_SNR_DB
    gains_db = _TRAIN_GAIN_DB if is_training else _TEST_GAIN_DB
    gain_db = generator.uniform(*(gains_db if text else _NOISE_GAIN_DB))
    return Mixing(kind, _rounded(snr_db), _rounded(gain_db), is_training and bool(text))
