"""DRAM's contents, copied piece by piece, against a copy of all of the image."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from azsim.machine.dram import Contents

SIZE = 5 * (1 << 16) + 321
BYTES = st.integers(0, SIZE)


@given(
    steps=st.lists(st.tuples(st.booleans(), BYTES, BYTES, st.integers(0, 255)), max_size=12),
    seed=st.integers(0, 2**32 - 1),
)
def test_contents_are_those_of_a_copy(steps: list[tuple[bool, int, int, int]], seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, SIZE, np.uint8)
    whole, memory = image.copy(), np.zeros(SIZE, np.uint8)
    before, contents = image.copy(), Contents(memory, image)
    for is_write, one, other, value in steps:
        low, high = sorted((one, other))
        if is_write:
            contents.touch(low, high)
            memory[low:high] += np.uint8(value)
            whole[low:high] += np.uint8(value)
        np.testing.assert_array_equal(contents.read(low, high), whole[low:high])
    contents.touch(0, SIZE)
    np.testing.assert_array_equal(memory, whole)
    np.testing.assert_array_equal(image, before)
