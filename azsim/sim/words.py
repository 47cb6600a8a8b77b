"""What a run's outputs say in words, against what was said and what the float model hears."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from azsim.word_errors import WordErrors, rate_standard_error, total, word_error_rate

__all__ = ["HeardUtterance", "WordCheck"]


@dataclass(frozen=True)
class HeardUtterance:
    """One utterance.

    Attributes
    ----------
    name : str
        Recording, as the workload names it.
    heard, float_heard : str
        By the chip, and by the float model; words with one blank between each.
    said : str or None
        None where nobody knows.
    errors, float_errors : WordErrors or None
        None where nobody knows what was said.
    """

    name: str
    heard: str
    float_heard: str
    said: str | None = None
    errors: WordErrors | None = None
    float_errors: WordErrors | None = None

    def document(self) -> dict[str, object]:
        """What ``summary.json`` says of it."""
        return {
            "name": self.name,
            "heard": self.heard,
            "said": self.said,
            "float_heard": self.float_heard,
            **_errors_document(self.errors),
            "float_errors": self.float_errors and self.float_errors.errors,
        }


def _errors_document(errors: WordErrors | None) -> dict[str, int | None]:
    if errors is None:
        return dict.fromkeys(("words", "substitutions", "deletions", "insertions", "errors"))
    return {**asdict(errors), "errors": errors.errors}


@dataclass(frozen=True)
class WordCheck:
    """All utterances of a run.

    Attributes
    ----------
    utterances : tuple of HeardUtterance
    """

    utterances: tuple[HeardUtterance, ...]

    @property
    def known(self) -> list[WordErrors]:
        """Errors of each utterance of which is known what was said."""
        return [each.errors for each in self.utterances if each.errors is not None]

    @property
    def float_known(self) -> list[WordErrors]:
        """The same of the float model."""
        return [each.float_errors for each in self.utterances if each.float_errors is not None]

    @property
    def rate(self) -> float | None:
        """Word error rate; None where nobody knows what was said, or nothing was."""
        return word_error_rate(self.known)

    @property
    def standard_error(self) -> float | None:
        """Standard error of the rate over utterances; None for a single one."""
        return rate_standard_error(self.known)

    @property
    def float_rate(self) -> float | None:
        """Word error rate of the float model."""
        return word_error_rate(self.float_known)

    @property
    def float_standard_error(self) -> float | None:
        """Standard error of the float model's rate."""
        return rate_standard_error(self.float_known)

    @property
    def agreement(self) -> float:
        """Share of utterances that the float model hears in the same words."""
        same = [each.heard == each.float_heard for each in self.utterances]
        return sum(same) / len(same)

    @property
    def silent(self) -> tuple[int, int]:
        """Utterances in which nothing is said, and those of them in which nothing was heard."""
        silent = [each for each in self.utterances if each.said == ""]
        return len(silent), sum(not each.heard for each in silent)

    def document(self) -> dict[str, object]:
        """What ``summary.json`` has under ``words``."""
        silent, heard_silent = self.silent
        return {
            **_errors_document(total(self.known) if self.known else None),
            "standard_error": self.standard_error,
            "float_standard_error": self.float_standard_error,
            "float_agreement": self.agreement,
            "silent_utterances": silent,
            "heard_as_silent": heard_silent,
            "utterances": [each.document() for each in self.utterances],
        }
