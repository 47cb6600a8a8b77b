"""What was heard, for the terminal: some utterances with their errors marked, and the rate."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from azsim.report.tables import plain_grid, spaced
from azsim.report.units import counted, number, percent
from azsim.sim.words import HeardUtterance, WordCheck
from azsim.word_errors import Step, align, total

__all__ = ["words"]

_MOST_SHOWN = 8
_STYLES = {"equal": "", "substitution": "red", "insertion": "yellow", "deletion": "red strike"}
_SILENCE = Text("(nothing)", "dim")


def words(check: WordCheck | None) -> list[RenderableType]:
    """Words of a run: a table of utterances, those with errors first, and the rates."""
    if check is None:
        return []
    shown = sorted(
        check.utterances, key=lambda each: -(each.errors.errors if each.errors is not None else 0)
    )[:_MOST_SHOWN]
    grid = plain_grid("Words")
    grid.add_column("recording", overflow="fold", ratio=2, min_width=10)
    grid.add_column("heard", overflow="fold", ratio=4, min_width=16)
    is_known = bool(check.known)
    if is_known:
        grid.add_column("said", overflow="fold", ratio=4, min_width=16)
        grid.add_column("errors", justify="right", no_wrap=True)
    for utterance in shown:
        heard, said = _marked(utterance)
        cells = [Text(utterance.name), heard]
        if is_known:
            errors = "" if utterance.errors is None else number(utterance.errors.errors)
            cells += [said, Text(errors)]
        grid.add_row(*cells)
    note = "[wrong] +added+ -missing-" if is_known else ""
    if rest := len(check.utterances) - len(shown):
        note = f"{note}; " if note else ""
        note += f"{counted(rest, 'utterance')} more, as many or fewer errors each: summary.json"
    return [Group(spaced(grid, note), *(Text(line) for line in _lines(check)))]


def _marked(utterance: HeardUtterance) -> tuple[Text, Text]:
    """What was heard, what was wrong in it marked, and what was said with what was missed."""
    if utterance.said is None:
        return Text(utterance.heard) if utterance.heard else _SILENCE, Text()
    steps = align(utterance.said.split(), utterance.heard.split())
    heard = [(step.heard, step) for step in steps if step.heard is not None]
    said = [(step.said, step) for step in steps if step.said is not None]
    return _sentence(heard), _sentence(said)


def _sentence(found: list[tuple[str, Step]]) -> Text:
    """Words with signs around those that are wrong, as colours are not everywhere."""
    if not found:
        return _SILENCE
    signs = {"substitution": "[]", "insertion": "++", "deletion": "--"}
    sentence = Text()
    for word, step in found:
        if sentence:
            sentence.append(" ")
        left, right = signs.get(step.kind, ("", ""))
        sentence.append(f"{left}{word}{right}", _STYLES[step.kind])
    return sentence


def _lines(check: WordCheck) -> list[str]:
    """Rates with their standard errors, and what they were measured on."""
    utterances = counted(len(check.utterances), "utterance")
    same = f"{percent(check.agreement)} of the utterances are heard as by the float model"
    if not check.known:
        return ["", f"words: {utterances}, nobody says what is said; {same}"]
    whole = total(check.known)
    lines = [""]
    if check.rate is not None:
        chip = _rate(check.rate, check.standard_error)
        by_float = _rate(check.float_rate, check.float_standard_error)
        lines.append(f"word error rate: {chip}; float model: {by_float}")
    lines.append(
        f"measured on {utterances} with {counted(whole.words, 'word')}: "
        f"{counted(whole.substitutions, 'substitution')}, {counted(whole.deletions, 'deletion')}, "
        f"{counted(whole.insertions, 'insertion')}; {same}"
    )
    silent, heard_silent = check.silent
    if silent:
        lines.append(
            f"nothing is said in {number(silent)}, nothing heard in {heard_silent} of them"
        )
    return lines


def _rate(rate: float | None, standard_error: float | None) -> str:
    if rate is None:
        return "not known"
    spread = "" if standard_error is None else f" ± {percent(standard_error)} (standard error)"
    return f"{percent(rate)}{spread}"
