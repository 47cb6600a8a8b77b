"""What the study accuracy_vs_cost hears: the test sets, made anew and kept in the user's cache."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from azsim.code_version import code_version
from azsim.errors import InputError
from azsim.inputs.fetch import cache_directory
from azsim.speech.corpus import Corpus

__all__ = ["KNOWN_SHA256", "SETS", "audio_sha256", "heard_before", "test_corpus"]

SETS = ("unseen_voices", "unseen_engines", "noise_only", "out_of_vocabulary")

KNOWN_SHA256 = {
    "unseen_voices": "476b9610e4f44cb19a6d97733dff32d7df4cb7141ef727826e75aa0dc44a8ca3",
    "unseen_engines": "60ad8821bb600b6788fc071dc104e78a2dec625c711479614ef1e1ff7e6c78df",
    "noise_only": "fc561122650fde063554b8de5a3b92ae359e5c55fe6bf4b04312ee3eb28543e0",
    "out_of_vocabulary": "4ffdaf0e271bc2430f3cf50abb0d950d7492a7d52992872a4ea7146826b61ab0",
}
"""Of each set's audio where the committed figures were found: espeak-ng 1.51, flite 2.2 and
festival 2.5.0.  Other versions speak in another way, and other figures are found."""


def test_corpus(processes: int, progress: Callable[[str, int, int], None]) -> Corpus:
    """Return the test sets of ``azsim corpus`` with its own settings; made unless they are kept.

    Raises
    ------
    InputError
        If a synthesizer is missing or fails, or the cache cannot be written.
    """
    from azsim.speech.engines import check_installed
    from azsim.speech.make import make_corpus
    from azsim.speech.plan import Settings

    folder = cache_directory() / "speech_tests" / code_version("azsim.speech.make")
    if (folder / "corpus.json").is_file():
        return Corpus.open(folder)
    check_installed()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent))
    except OSError as error:
        raise InputError(f"{folder.parent}: cannot be written, {error.strerror}") from None
    try:
        make_corpus(made, Settings(), progress, processes, SETS)
        for old in folder.parent.iterdir():  # 0.2 GB each: only those of this version are kept
            if old != made:
                shutil.rmtree(old, ignore_errors=True)
        os.replace(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return Corpus.open(folder)


def audio_sha256(corpus: Corpus) -> Mapping[str, str]:
    """Return the sha256 of each set's audio, as it was when the corpus was made."""
    return {name: corpus.document["sets"][name]["audio_sha256"] for name in SETS}


def heard_before(corpus: Corpus) -> bool:
    """Say whether the audio is that of the committed figures."""
    return audio_sha256(corpus) == KNOWN_SHA256
