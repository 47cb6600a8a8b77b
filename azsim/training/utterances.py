"""Utterances of the corpus as training reads them: features on disk, labels in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from azsim.inputs.features import preset_features
from azsim.speech.corpus import Corpus
from azsim.speech.grammar import encode

__all__ = ["STACK", "CorpusUtterances"]

STACK = 2
"""Feature frames in a frame of the network."""


class CorpusUtterances:
    """A set of a corpus, with the labels of a unit; see `azsim.training.batches.Utterances`.

    Parameters
    ----------
    folder : Path
        Of the corpus.
    name : str
        Of the set.
    unit : str
        ``words`` or ``characters``.

    Raises
    ------
    InputError
        If the folder holds no such set.
    """

    def __init__(self, folder: Path, name: str, unit: str) -> None:
        utterances = Corpus.open(folder).set(name)
        self.texts = utterances.texts
        self.labels = [encode(text, unit) for text in utterances.texts]
        self.copies = utterances.copies
        self._features = [utterances.features(copy) for copy in range(self.copies)]
        quietest = np.inf  # where nothing is said there is no ratio
        self._snr_db = [
            np.nan_to_num(utterances.numbers("snr_db", copy), nan=quietest)
            for copy in range(self.copies)
        ]
        self._rows = utterances.rows
        self.frames = np.diff(self._rows) // STACK
        frame_samples = preset_features("commands").frame_samples * STACK
        start, count = utterances.integers("speech_start"), utterances.integers("speech_samples")
        self._spans = np.stack([start, start + count], axis=1) // frame_samples

    def features(self, utterance: int, copy: int) -> np.ndarray:
        """Feature frames of one, (T, features) float32."""
        return self._features[copy][self._rows[utterance] : self._rows[utterance + 1]]

    def snr_db(self, utterance: int, copy: int) -> float:
        """Of one; infinite without speech."""
        return float(self._snr_db[copy][utterance])

    def span(self, utterance: int) -> tuple[int, int]:
        """First frame of the network with speech, and the last one."""
        first, last = self._spans[utterance].tolist()
        return first, min(last, int(self.frames[utterance]) - 1)
