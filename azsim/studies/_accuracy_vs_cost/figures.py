"""Figures of the study accuracy_vs_cost, from what was heard."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from azsim.studies._accuracy_vs_cost.rows import SEEDS, TESTS, Row
from azsim.studies._write import Figure
from azsim.word_errors import WordErrors, rate_standard_error, word_error_rate, word_errors

__all__ = [
    "errors_of",
    "paired_standard_error",
    "rate_figures",
    "seed_figures",
    "shuffled_rate",
    "unsaid_figures",
]

_PERCENT, _POINTS = "% of words", "points"
_MEANS = ("wer", "more")


def errors_of(said: Sequence[str], heard: Sequence[str]) -> list[WordErrors]:
    """Count the errors of each utterance."""
    pairs = zip(said, heard, strict=True)
    return [word_errors(text.split(), found.split()) for text, found in pairs]


def paired_standard_error(found: Sequence[WordErrors], other: Sequence[WordErrors]) -> float:
    """Standard error of the difference of two rates on the same utterances.

    As `rate_standard_error`, of the errors that one makes more than the other.
    """
    more = [a.errors - b.errors for a, b in zip(found, other, strict=True)]
    words = [each.words for each in found]
    rate, count = sum(more) / sum(words), len(more)
    squares = sum((m - rate * n) ** 2 for m, n in zip(more, words, strict=True))
    return math.sqrt(count / (count - 1) * squares) / sum(words)


def rate_figures(
    key: str, found: Sequence[WordErrors], against: Sequence[WordErrors] | None = None
) -> dict[str, Figure]:
    """Word error rate and its standard error over utterances; and how much more than another's."""
    figures = {
        f"{key}.wer": Figure(_percent(word_error_rate(found)), _PERCENT),
        f"{key}.se": Figure(_percent(rate_standard_error(found)), _POINTS),
    }
    if against is not None:
        more = (word_error_rate(found) or 0.0) - (word_error_rate(against) or 0.0)
        figures[f"{key}.more"] = Figure(_percent(more), _POINTS)
        figures[f"{key}.more_se"] = Figure(_percent(paired_standard_error(found, against)), _POINTS)
    return figures


def _percent(rate: float | None) -> float:
    return round(100 * (rate or 0.0), 2) + 0.0  # never -0.0


def shuffled_rate(said: Sequence[str], heard: Sequence[str]) -> float:
    """Word error rate if each utterance had the sound of the next one that says another thing.

    Utterances are heard one by one, so what is heard in a sound does not depend on its place.
    """
    count = len(said)
    other = [
        next((i + step) % count for step in range(1, count) if said[(i + step) % count] != text)
        for i, text in enumerate(said)
    ]
    return _percent(word_error_rate(errors_of(said, [heard[i] for i in other])))


def unsaid_figures(
    key: str, heard: Mapping[str, Sequence[str]], foreign: Sequence[str], known: frozenset[str]
) -> dict[str, Figure]:
    """What is heard where nothing is said, and in sentences with a word that nobody taught.

    Parameters
    ----------
    key : str
    heard : mapping of str to sequence of str
    foreign : sequence of str
        What is said in ``out_of_vocabulary``.
    known : frozenset of str
        The grammar's words.
    """
    silent = heard["noise_only"]
    empty = sum(not text for text in silent)
    errors = errors_of(foreign, heard["out_of_vocabulary"])
    ours = [" ".join(word for word in text.split() if word in known) for text in foreign]
    missed = errors_of(ours, heard["out_of_vocabulary"])
    said = sum(each.words for each in missed)
    kept = said - sum(each.substitutions + each.deletions for each in missed)
    return {
        f"{key}.noise_only.empty": Figure(round(100 * empty / len(silent), 1), "% of recordings"),
        **rate_figures(f"{key}.out_of_vocabulary", errors),
        f"{key}.out_of_vocabulary.known_words": Figure(
            round(100 * kept / said, 1) if said else 0.0, "% of the known words heard"
        ),
    }


def seed_figures(figures: Mapping[str, Figure], some: Iterable[Row]) -> dict[str, Figure]:
    """Means over seeds, and the standard error between them where there are at least two."""
    groups = {f"{row.unit}.{row.way}.{row.scheme}" for row in some}
    groups |= {f"{row.unit}.float" for row in some}
    found: dict[str, Figure] = {}
    for group in sorted(groups):
        for name in TESTS:
            for key in _MEANS:
                every = [f"{group}.seed{seed}.{name}.{key}" for seed in SEEDS]
                values = [figures[each].value for each in every if each in figures]
                if values:
                    found |= _mean(f"{group}.{name}.{key}", values)
    return found


def _mean(key: str, values: Sequence[float]) -> dict[str, Figure]:
    count = len(values)
    mean = sum(values) / count
    unit = _PERCENT if key.endswith("wer") else _POINTS
    figures = {
        f"{key}_mean": Figure(round(mean, 2) + 0.0, f"{unit}, mean over seeds"),
        f"{key}_seeds": Figure(count, "trainings"),
    }
    if count > 1:
        squares = sum((value - mean) ** 2 for value in values)
        figures[f"{key}_seed_se"] = Figure(
            round(math.sqrt(squares / (count - 1) / count), 2), f"{_POINTS}, between seeds"
        )
    return figures
