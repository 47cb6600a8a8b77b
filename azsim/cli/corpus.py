"""``azsim corpus``."""

from __future__ import annotations

import argparse
from typing import Any

from azsim.cli.terminal import progress_bars, show_tables, shown_path
from azsim.errors import InputError

__all__ = ["corpus"]

_MOST_PROCESSES = 256


def corpus(arguments: argparse.Namespace) -> int:
    """Make a corpus of spoken commands."""
    from azsim.report import files
    from azsim.report.listing import Listing
    from azsim.speech.corpus import foreign_to_corpus
    from azsim.speech.engines import check_installed
    from azsim.speech.make import check_room, make_corpus
    from azsim.speech.plan import Settings, chosen_sets
    from azsim.sweeps.processes import cores

    settings = Settings(arguments.seed, arguments.utterances, arguments.copies, arguments.tests)
    processes = cores() if arguments.processes is None else arguments.processes
    if not 1 <= processes <= _MOST_PROCESSES:
        found = f"found {processes}, allowed: 1 to {_MOST_PROCESSES}"
        raise InputError(f"corpus: processes out of range, {found}")
    sets = chosen_sets(arguments.sets)
    check_installed()
    check_room(settings, arguments.output.absolute(), sets)
    with (
        files.replaced_folder(arguments.output, foreign_to_corpus) as folder,
        progress_bars() as progress,
    ):
        told = make_corpus(folder, settings, progress or _say_nothing, processes, sets)
    heads = ("set", "utterances", "distinct", "words", "hours", "speakers", "voices", "copies")
    show_tables([Listing("Corpus", heads, tuple(_row(*item) for item in told["sets"].items()))])
    hours = sum(row["hours"] for row in told["sets"].values())
    print(f"{hours:.1f} hours of audio, made in {told['seconds']:.0f} s by {processes} processes")
    for engine, version in told["engines"].items():
        print(f"{engine}: {version}")
    print(f"Written to {shown_path(arguments.output)}")
    return 0


def _row(name: str, described: dict[str, Any]) -> tuple[str, ...]:
    keys = ("utterances", "distinct_texts", "words")
    counts = [f"{described[key]:,}" for key in keys]
    others = [str(described[key]) for key in ("speakers", "voices", "copies")]
    return (name, *counts, f"{described['hours']:.2f}", *others)


def _say_nothing(stage: str, done: int, total: int) -> None:
    """Progress without a terminal."""
