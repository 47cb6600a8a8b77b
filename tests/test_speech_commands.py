"""The project's own recognisers: from sound to words, bit for bit, and how many are wrong."""

from __future__ import annotations

import numpy as np
import pytest

from azsim.frontend.workload import load_workload
from azsim.hardware import load_hardware
from azsim.pipeline import export_arrays, run
from azsim.stages.host_transducer import greedy
from azsim.stages.model import load_model
from azsim.stages.prepare import prepare
from azsim.stages.recognise import recognise

MOST_WRONG = {
    "speech_commands_word": 0.1,
    "speech_commands_word_w4_s75": 0.15,
    "speech_commands_char": 0.1,
    "speech_commands_char_w4_s75": 0.15,
}
WORKLOADS = list(MOST_WRONG)


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKLOADS)
def test_commands_become_words(name: str) -> None:
    result = run(load_workload(name), verify=True, timeline=False)
    assert result.comparison is not None
    assert result.comparison.bit_exact, result.comparison.first_difference
    assert result.words is not None
    assert result.words.rate is not None
    assert result.words.rate <= MOST_WRONG[name]
    assert result.statistics.deadline_misses == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKLOADS)
def test_uncompressed_the_chip_hears_what_the_host_hears(name: str) -> None:
    """With the weights that the chip stores, and activations of 16 bits: every utterance."""
    changes = ["compression.default.activations.bits=16", "input.first=100"]
    for part in ("unseen_voices", "unseen_engines"):
        given = load_workload(name, [*changes, f"input.set={part}"])
        ready = prepare(given)
        width = ready.frames["features"].shape[-1]
        rows = [ready.frames["features"][part].reshape(-1, width) for part in ready.parts]
        weights = {**load_model(given).graph.initializers, **export_arrays(given)}
        assert given.model.max_symbols  # type: ignore[union-attr]
        host = greedy(weights, rows, given.model.max_symbols)  # type: ignore[union-attr]
        assert recognise(given, rows) == [list(heard.symbols) for heard in host]


@pytest.mark.slow
def test_what_is_rarely_used_is_streamed() -> None:
    """A plan that knows how rarely a word ends reads less, and nothing else is heard."""
    often, rarely = (
        run(
            load_workload("speech_commands_word", [f"model.symbols_per_frame={mean}"]),
            load_hardware("az1", ["weight_sram.bytes=500000"]),
            timeline=False,
        )
        for mean in (1.0, 0.2)
    )
    assert np.array_equal(often.outputs["symbols"], rarely.outputs["symbols"])
    assert rarely.statistics.dram_read_bytes < 0.7 * often.statistics.dram_read_bytes
    assert rarely.statistics.cycles < often.statistics.cycles


@pytest.mark.parametrize("name", WORKLOADS)
def test_noise_says_nothing(name: str) -> None:
    result = run(load_workload(name, ["input.set=noise_only"]), timeline=False)
    assert result.words is not None
    silent, heard_silent = result.words.silent
    assert silent == heard_silent == len(result.words.utterances)
