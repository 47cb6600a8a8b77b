"""Word errors: what separates words that were heard from those that were said.

The word error rate is the smallest number of substitutions, insertions and deletions that turn what
was said into what was heard (Levenshtein, 1966), over all utterances, by the number of words said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "Step",
    "WordErrors",
    "align",
    "rate_standard_error",
    "total",
    "word_error_rate",
    "word_errors",
]

Kind = Literal["equal", "substitution", "deletion", "insertion"]


@dataclass(frozen=True)
class Step:
    """One place of an alignment: a word that was said, or none, and one that was heard, or none."""

    said: str | None
    heard: str | None

    @property
    def kind(self) -> Kind:
        """What happened to the word."""
        if self.said == self.heard:
            return "equal"
        if self.heard is None:
            return "deletion"
        return "insertion" if self.said is None else "substitution"


@dataclass(frozen=True)
class WordErrors:
    """Errors of one utterance, or the sum of several.

    Attributes
    ----------
    words : int
        That were said.
    substitutions, deletions, insertions : int
    """

    words: int
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        """All of them."""
        return self.substitutions + self.deletions + self.insertions


def align(said: Sequence[str], heard: Sequence[str]) -> tuple[Step, ...]:
    """Align two sequences with as few errors as there can be.

    Of those it takes one with as many equal words as there can be, and of these always the same:
    from the end, words that stand for each other come before a deletion, that before an insertion.

    Parameters
    ----------
    said, heard : sequence of str

    Returns
    -------
    tuple of Step
        In order; without its gaps either side is the sequence that was given.
    """
    one = len(said) + len(heard) + 1  # error; more than all substitutions together weigh besides
    # costs[i][j]: least between the first i words said and the first j heard.
    costs = [[one * j for j in range(len(heard) + 1)]]
    for i, word in enumerate(said, 1):
        above, row = costs[-1], [one * i]
        for j, other in enumerate(heard, 1):
            instead = above[j - 1] + (word != other) * (one + 1)
            row.append(min(instead, above[j] + one, row[-1] + one))
        costs.append(row)
    steps: list[Step] = []
    i, j = len(said), len(heard)
    while i or j:
        here = costs[i][j]
        is_other = i > 0 and j > 0 and said[i - 1] != heard[j - 1]
        if i and j and here == costs[i - 1][j - 1] + is_other * (one + 1):
            i, j = i - 1, j - 1
            steps.append(Step(said[i], heard[j]))
        elif i and here == costs[i - 1][j] + one:
            i -= 1
            steps.append(Step(said[i], None))
        else:
            j -= 1
            steps.append(Step(None, heard[j]))
    return tuple(reversed(steps))


def word_errors(said: Sequence[str], heard: Sequence[str]) -> WordErrors:
    """Count the errors of one utterance."""
    kinds = [step.kind for step in align(said, heard)]
    return WordErrors(
        words=len(said),
        substitutions=kinds.count("substitution"),
        deletions=kinds.count("deletion"),
        insertions=kinds.count("insertion"),
    )


def total(utterances: Iterable[WordErrors]) -> WordErrors:
    """Sum over utterances."""
    found = list(utterances)
    return WordErrors(
        words=sum(each.words for each in found),
        substitutions=sum(each.substitutions for each in found),
        deletions=sum(each.deletions for each in found),
        insertions=sum(each.insertions for each in found),
    )


def word_error_rate(utterances: Iterable[WordErrors]) -> float | None:
    """Errors of all utterances by all words said, as a fraction; None where nothing was said."""
    whole = total(utterances)
    return whole.errors / whole.words if whole.words else None


def rate_standard_error(utterances: Sequence[WordErrors]) -> float | None:
    """Estimate the standard error of the rate, utterances being drawn independently.

    That of a ratio of two means (Cochran, Sampling Techniques, 1977, section 2.11):
    ``sqrt(n / (n - 1) * sum((errors - rate * words)**2)) / sum(words)``.

    Returns
    -------
    float or None
        None for a single utterance, and where nothing was said.
    """
    rate, count = word_error_rate(utterances), len(utterances)
    if rate is None or count < 2:
        return None
    squares = sum((each.errors - rate * each.words) ** 2 for each in utterances)
    words = sum(each.words for each in utterances)
    return math.sqrt(count / (count - 1) * squares) / words
