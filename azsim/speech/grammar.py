"""What is said: 79 words, a grammar of commands for a home, and both kinds of output symbols.

No two words sound alike: `to` and `two`, or `for` and `four`, could only be told apart by what
stands around them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from azsim.errors import InputError

__all__ = [
    "CHARACTERS",
    "PARTS",
    "UNITS",
    "WORDS",
    "decode",
    "encode",
    "part_of",
    "random_words",
    "sentences",
]

CHARACTERS = " abcdefghijklmnopqrstuvwxyz"
"""Units of a recogniser of characters; the blank comes after them."""
UNITS = ("words", "characters")
PARTS = ("train", "development", "test")
"""Each sentence belongs to one of them, for ever."""

_PASSED_OVER = 12
_TRAIN_PERCENT, _DEVELOPMENT_PERCENT = 75, 5

# A name stands for one of its lines; a word in brackets is said half of the time.
_GRAMMAR: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "SENTENCE": (
            *["COMMAND"] * 10,
            *["QUESTION"] * 4,
            "COMMAND WHEN",
            "please COMMAND",
            "COMMAND please",
            "COMMAND again",
        ),
        "COMMAND": (
            "turn SWITCH (the) DEVICE",
            "turn SWITCH (the) DEVICE in (the) ROOM",
            "turn (the) ROOM DEVICE SWITCH",
            "turn SWITCH all (the) lights",
            "turn DIRECTION (the) LEVEL",
            "turn DIRECTION (the) LEVEL in (the) ROOM",
            "turn (the) LEVEL DIRECTION",
            "turn the lights COLOUR",
            "dim (the) LAMP",
            "dim all LAMP in (the) ROOM",
            "dim (the) ROOM LAMP NUMBER percent",
            "LOCKING (the) ROOM OPENING",
            "LOCKING all (the) OPENING",
            "LOCKING (the) OPENING in (the) ROOM",
            "lock (the) house",
            "set (the) LEVEL at NUMBER percent",
            "set (the) ROOM LAMP at NUMBER percent",
            "set (the) ROOM temperature at NUMBER degrees",
            "set (the) heating at NUMBER degrees",
            "set (the) timer at NUMBER DURATION",
            "set (the) alarm at HOUR DAY",
            "set (the) alarm at HOUR NUMBER",
            "set (the) lights COLOUR in (the) ROOM",
            "start (the) NUMBER DURATION timer",
            "start (the) MACHINE in (the) ROOM",
            "start (the) coffee",
            "turn SWITCH (the) coffee at HOUR",
            "STOPPING (the) MACHINE",
            "STOPPING (the) NUMBER DURATION timer",
            "cancel (the) HOUR alarm",
            "cancel my alarm DAY",
            "cancel all my alarm DAY",
            "play MEDIA",
            "play MEDIA in (the) ROOM",
            "play (the) next song louder",
            "play my music in (the) ROOM",
            "play NUMBER song louder",
            "skip (the) next song",
            "skip (the) NUMBER minutes",
            "skip the song",
            "pause (the) MACHINE",
            "pause (the) MACHINE in (the) ROOM",
            "pause MEDIA NUMBER minutes",
            "call (the) ROOM",
            "call me at HOUR DAY",
            "call me in NUMBER DURATION",
            "call my house",
            "set (the) volume DIRECTION",
        ),
        "QUESTION": (
            "show me (the) SUBJECT",
            "show me (the) SUBJECT DAY",
            "show me (the) ROOM",
            "tell me (the) SUBJECT",
            "tell me (the) SUBJECT DAY",
            "what is (the) SUBJECT",
            "what is (the) SUBJECT DAY",
            "what is (the) temperature in (the) ROOM",
            "what is my next alarm",
            "what is the next song",
            "how is (the) SUBJECT DAY",
            "how is (the) THING in (the) ROOM",
            "is (the) THING SWITCH",
            "is (the) THING SWITCH in (the) ROOM",
            "is (the) ROOM OPENING open",
            "is (the) COLOUR lamp SWITCH",
        ),
        "SWITCH": ("on", "off"),
        "DIRECTION": ("up", "down"),
        "LOCKING": ("open", "close", "lock"),
        "STOPPING": ("stop", "cancel", "pause"),
        "OPENING": ("door", "window", "blinds"),
        "LAMP": ("lights", "lamp", "COLOUR lights", "COLOUR lamp"),
        "DEVICE": ("lights", "lamp", "fan", "heating", "television", "radio", "COLOUR lights"),
        "THING": ("lamp", "fan", "heating", "television", "radio", "music", "coffee"),
        "LEVEL": (
            "volume",
            "volume",
            "volume",
            "heating",
            "radio",
            "television",
            "fan",
            "temperature",
            "music",
        ),
        "MACHINE": ("timer", "music", "radio", "television", "coffee", "fan", "alarm", "song"),
        "MEDIA": ("(the) news", "(the) radio", "(my) music", "(the) next song", "music louder"),
        "SUBJECT": ("weather", "news", "time", "temperature"),
        "ROOM": ("kitchen", "bedroom", "bathroom", "garage", "garden", "house"),
        "COLOUR": ("red", "green", "blue"),
        "DURATION": ("minutes", "hours"),
        "DAY": ("today", "tomorrow", "tonight"),
        "WHEN": ("DAY", "at HOUR", "in NUMBER DURATION"),
        "HOUR": ("DIGIT", "ten"),
        "NUMBER": ("DIGIT", "DIGIT", "ten", "TENS", "TENS DIGIT", "TENS DIGIT"),
        "TENS": ("twenty", "thirty"),
        "DIGIT": ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    }
)
_BRACKETED_SHARE = 0.5
_KEPT_SHARE = {2: 1.0, 3: 1.0, 4: 0.7, 5: 0.4, 6: 0.2, 7: 0.15}
"""By words of a sentence: what the grammar can say has mostly many words, what people say few."""


def _terminals() -> Iterator[str]:
    for lines in _GRAMMAR.values():
        for line in lines:
            yield from (item.strip("()") for item in line.split())


WORDS: tuple[str, ...] = tuple(sorted({word for word in _terminals() if word.islower()}))
"""Units of a recogniser of words; the blank comes after them."""

_WORD_CODES = {word: code for code, word in enumerate(WORDS)}
_CHARACTER_CODES = {character: code for code, character in enumerate(CHARACTERS)}


# ---------------------------------------------------------------------------------- symbols


def encode(text: str, unit: str) -> list[int]:
    """Return the symbols of a text.

    Parameters
    ----------
    text : str
        Words with one space between them.
    unit : str
        One of `UNITS`.

    Raises
    ------
    InputError
        If the unit is unknown, or a word or character is none of its units.
    """
    codes = _codes(unit)
    items = text.split() if unit == "words" else text
    foreign = list(dict.fromkeys(item for item in items if item not in codes))
    if foreign:
        shown = ", ".join(map(repr, foreign))
        allowed = "WORDS of azsim.speech.grammar" if unit == "words" else "a-z and space"
        raise InputError(
            f"text {text!r}: no {unit} of the grammar, found {shown}, allowed: {allowed}"
        )
    return [codes[item] for item in items]


def decode(symbols: Sequence[int], unit: str) -> str:
    """Return the text of symbols, blanks left out already.

    Raises
    ------
    InputError
        If the unit is unknown, or a symbol is none of its units.
    """
    items = tuple(_codes(unit))
    wrong = [symbol for symbol in symbols if not 0 <= symbol < len(items)]
    if wrong:
        raise InputError(f"symbols: no {unit}, found {wrong[0]}, allowed: 0 to {len(items) - 1}")
    return (" " if unit == "words" else "").join(items[symbol] for symbol in symbols)


def _codes(unit: str) -> Mapping[str, int]:
    if unit not in UNITS:
        raise InputError(f"unknown unit {unit!r}, allowed: {', '.join(UNITS)}")
    return _WORD_CODES if unit == "words" else _CHARACTER_CODES


# -------------------------------------------------------------------------------- sentences


def part_of(text: str) -> str:
    """Return the one of `PARTS` that a sentence belongs to, by a hash of its text."""
    percent = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 100
    if percent < _TRAIN_PERCENT:
        return "train"
    return "development" if percent < _TRAIN_PERCENT + _DEVELOPMENT_PERCENT else "test"


def sentences(generator: np.random.Generator, part: str) -> Iterator[str]:
    """Yield sentences of the grammar that belong to a part, without end.

    Those that came before are passed over a few times, then one may come again: short ones run out.

    Parameters
    ----------
    generator : numpy.random.Generator
    part : str
        One of `PARTS`.
    """
    yield from _of_part(_drawn(generator), part)


def random_words(generator: np.random.Generator, part: str) -> Iterator[str]:
    """Yield 2 to 6 words in no order that belong to a part, without end."""
    yield from _of_part((_shuffled(generator) for _ in iter(int, 1)), part)


def _drawn(generator: np.random.Generator) -> Iterator[list[str]]:
    while True:
        words = _expand("SENTENCE", generator)
        if generator.random() < _KEPT_SHARE.get(len(words), 0):
            yield words


def _shuffled(generator: np.random.Generator) -> list[str]:
    return [WORDS[code] for code in generator.integers(len(WORDS), size=generator.integers(2, 7))]


def _of_part(drawn: Iterator[list[str]], part: str) -> Iterator[str]:
    seen: set[str] = set()
    repeated = 0
    for words in drawn:
        text = " ".join(words)
        if part_of(text) != part:
            continue
        if text in seen and repeated < _PASSED_OVER:
            repeated += 1
            continue
        seen.add(text)
        repeated = 0
        yield text


def _expand(name: str, generator: np.random.Generator) -> list[str]:
    lines = _GRAMMAR[name]
    words: list[str] = []
    for item in lines[int(generator.integers(len(lines)))].split():
        if item.startswith("("):
            if generator.random() < _BRACKETED_SHARE:
                words.append(item.strip("()"))
        elif item.isupper():
            words += _expand(item, generator)
        else:
            words.append(item)
    return words
