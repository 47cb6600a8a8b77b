"""What is said in the corpus: words, symbols, sentences and the part that each belongs to."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azsim.errors import InputError
from azsim.speech.grammar import (
    _GRAMMAR,
    CHARACTERS,
    PARTS,
    UNITS,
    WORDS,
    decode,
    encode,
    part_of,
    random_words,
    sentences,
)


def drawn(part: str, count: int, seed: int = 0) -> list[str]:
    return list(islice(sentences(np.random.default_rng(seed), part), count))


def test_the_units() -> None:
    assert len(WORDS) == len(set(WORDS)) == 79
    assert list(WORDS) == sorted(WORDS)
    assert all(word.isascii() and word.isalpha() and word.islower() for word in WORDS)
    assert len(CHARACTERS) == len(set(CHARACTERS)) == 27
    assert CHARACTERS[0] == " "


def test_no_two_words_sound_alike() -> None:
    alike = [{"to", "two", "too"}, {"for", "four"}, {"of", "off"}, {"one", "won"}, {"read", "red"}]
    assert [group & set(WORDS) for group in alike] == [{"two"}, {"four"}, {"off"}, {"one"}, {"red"}]


@given(st.lists(st.sampled_from(WORDS), max_size=8), st.sampled_from(UNITS))
def test_symbols_give_the_text_back(words: list[str], unit: str) -> None:
    text = " ".join(words)
    symbols = encode(text, unit)
    assert decode(symbols, unit) == text
    assert len(symbols) == (len(words) if unit == "words" else len(text))
    assert all(0 <= symbol < {"words": 79, "characters": 27}[unit] for symbol in symbols)


@pytest.mark.parametrize(
    ("text", "unit", "sentence"),
    [
        (
            "turn the cat on cat",
            "words",
            (
                "text 'turn the cat on cat': no words of the grammar, found 'cat', "
                "allowed: WORDS of azsim.speech.grammar"
            ),
        ),
        (
            "Ten!",
            "characters",
            "text 'Ten!': no characters of the grammar, found 'T', '!', allowed: a-z and space",
        ),
        ("ten", "bytes", "unknown unit 'bytes', allowed: words, characters"),
    ],
)
def test_texts_that_have_no_symbols(text: str, unit: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        encode(text, unit)
    assert str(caught.value) == sentence


def test_a_blank_is_no_text() -> None:
    with pytest.raises(InputError) as caught:
        decode([3, 79], "words")
    assert str(caught.value) == "symbols: no words, found 79, allowed: 0 to 78"


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_sentences_belong_to_their_part_and_a_seed_gives_them_again(part: str) -> None:
    texts = drawn(part, 300)
    assert {part_of(text) for text in texts} == {part}
    assert texts == drawn(part, 300)
    assert texts != drawn(part, 300, seed=1)
    free = list(islice(random_words(np.random.default_rng(0), part), 100))
    assert {part_of(text) for text in free} == {part}


def test_the_parts_have_their_shares() -> None:
    counts = Counter(part_of(f"sentence {n}") for n in range(10_000))
    assert 7_300 < counts["train"] < 7_700
    assert 400 < counts["development"] < 600


@pytest.mark.slow
def test_sentences_are_short_and_say_every_word() -> None:
    texts = drawn("train", 6_000)
    lengths = np.array([len(text.split()) for text in texts])
    assert lengths.min() == 2
    assert lengths.max() == 7
    assert 4 <= lengths.mean() <= 5
    counts = Counter(word for text in texts for word in text.split())
    assert min(counts[word] for word in WORDS) >= 50
    assert len(set(texts)) > 4_000


def all_of(item: str) -> set[str]:
    """Every text that an item of the grammar stands for, of up to 7 words."""
    if item.startswith("("):
        return all_of(item.strip("()")) | {""}
    if not item.isupper():
        return {item}
    texts = set()
    for line in _GRAMMAR[item]:
        starts = {""}
        for part in line.split():
            ends = all_of(part)
            starts = {f"{start} {end}".strip() for start in starts for end in ends}
        texts |= {text for text in starts if len(text.split()) <= 7}
    return texts


def test_the_grammar_has_more_than_20_000_sentences() -> None:
    possible = all_of("SENTENCE")
    assert len(possible) == 86_830
    assert set(drawn("test", 200)) <= possible
