"""Word errors against a plain definition: every way to edit what was said, one step at a time."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azsim.word_errors import (
    WordErrors,
    align,
    rate_standard_error,
    total,
    word_error_rate,
    word_errors,
)

WORDS = st.lists(st.sampled_from("abc"), max_size=7).map(tuple)


@functools.cache
def fewest_edits(said: tuple[str, ...], heard: tuple[str, ...]) -> int:
    """Leave out the first word, put one in, or take one for the other: whatever costs least."""
    if not said or not heard:
        return len(said) + len(heard)
    return min(
        fewest_edits(said[1:], heard) + 1,
        fewest_edits(said, heard[1:]) + 1,
        fewest_edits(said[1:], heard[1:]) + (said[0] != heard[0]),
    )


@given(WORDS, WORDS)
def test_errors_are_the_fewest_edits(said: tuple[str, ...], heard: tuple[str, ...]) -> None:
    found = word_errors(said, heard)
    assert found.errors == fewest_edits(said, heard)
    assert found.words == len(said)
    assert len(heard) - len(said) == found.insertions - found.deletions


@given(WORDS, WORDS)
def test_an_alignment_has_both_sequences_in_order(
    said: tuple[str, ...], heard: tuple[str, ...]
) -> None:
    steps = align(said, heard)
    assert tuple(step.said for step in steps if step.said is not None) == said
    assert tuple(step.heard for step in steps if step.heard is not None) == heard
    assert all(step.said is not None or step.heard is not None for step in steps)
    assert sum(step.kind != "equal" for step in steps) == fewest_edits(said, heard)


def test_of_equally_good_alignments_it_is_always_the_same() -> None:
    # One word of two is there once more: a deletion as far in front as can be.
    kinds = [step.kind for step in align(["go", "go"], ["go"])]
    assert kinds == ["deletion", "equal"]
    # Not two substitutions, which are two errors as well and leave no word equal.
    kinds = [step.kind for step in align(["a", "b"], ["b", "a"])]
    assert kinds == ["insertion", "equal", "deletion"]


@functools.cache
def most_equal(said: tuple[str, ...], heard: tuple[str, ...]) -> tuple[int, int]:
    """Fewest errors, and the fewest substitutions among as many, by trying everything."""
    if not said or not heard:
        return len(said) + len(heard), 0

    def after(step: tuple[int, int], rest: tuple[int, int]) -> tuple[int, int]:
        return step[0] + rest[0], step[1] + rest[1]

    other = int(said[0] != heard[0])
    return min(
        after((1, 0), most_equal(said[1:], heard)),
        after((1, 0), most_equal(said, heard[1:])),
        after((other, other), most_equal(said[1:], heard[1:])),
    )


@given(WORDS, WORDS)
def test_of_the_fewest_errors_the_fewest_are_substitutions(
    said: tuple[str, ...], heard: tuple[str, ...]
) -> None:
    found = word_errors(said, heard)
    assert (found.errors, found.substitutions) == most_equal(said, heard)


def test_rate_is_of_all_words() -> None:
    found = [WordErrors(4, 1, 0, 0), WordErrors(6, 0, 1, 2)]
    assert total(found) == WordErrors(10, 1, 1, 2)
    assert word_error_rate(found) == 0.4
    assert word_error_rate([word_errors((), ("a",))]) is None
    assert word_error_rate([]) is None


def test_standard_error_is_that_of_many_drawn_sets() -> None:
    rng = np.random.default_rng(0)
    words = rng.integers(1, 8, (2000, 50))
    errors = rng.binomial(words, 0.2)
    sets = [
        [WordErrors(int(n), int(e)) for n, e in zip(*pair, strict=True)]
        for pair in zip(words, errors, strict=True)
    ]
    spread = np.std([word_error_rate(each) or 0.0 for each in sets])
    estimated = [rate_standard_error(each) for each in sets[:200]]
    assert math.isclose(np.mean([e for e in estimated if e is not None]), spread, rel_tol=0.05)


@pytest.mark.parametrize("utterances", [[], [WordErrors(3, 1)], [WordErrors(0), WordErrors(0)]])
def test_no_standard_error_of_too_little(utterances: list[WordErrors]) -> None:
    assert rate_standard_error(utterances) is None
