"""The expander of the Ethos-U weight format, which puts zeros between the weights, step by step."""

from __future__ import annotations

from azsim.jit import kernel

__all__ = ["expand", "pieces_to_codes"]


@kernel
def pieces_to_codes(done, runs, num_runs, new):
    """Turn pieces that are done after each chunk into codes that it adds."""
    before = 0
    for i in range(done.shape[0]):
        pieces = done[i]
        codes = 0
        for piece in range(before, pieces):
            # The run ahead of the first weight is a piece of its own.
            if num_runs > 0:
                codes += runs[piece]
            if num_runs == 0 or not new or piece > 0:
                codes += 1
        before = pieces
        done[i] = codes


@kernel
def expand(bits, codes, most, waiting, steps):
    """Steps of a decoder: bits in row 0, codes in row 1; return their number.

    `bits` and `codes` are those of headers and chunks; none is taken while `waiting` or more codes
    wait to be given, `most` of them a step.
    """
    step = event = held = 0
    while event < bits.shape[0] or held > 0:
        if event < bits.shape[0] and held < waiting:
            steps[0, step] = bits[event]
            held += codes[event]
            event += 1
        given = min(held, most)
        steps[1, step] = given
        held -= given
        step += 1
    return step
