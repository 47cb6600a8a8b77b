"""Every codec on blocks of ten million weights."""

from __future__ import annotations

import numpy as np
import pytest

from azsim.codecs import codec_names, decode_block, encode_block

pytestmark = pytest.mark.kernels

COUNT, COLUMNS = 10_000_000, 2_500


@pytest.fixture(scope="module", params=[(8, 0.0, 20.0), (4, 0.75, 3.0)], ids=["dense", "sparse"])
def tensor(request: pytest.FixtureRequest) -> tuple[np.ndarray, int]:
    """Laplace codes and their bits."""
    bits, zeros, scale = request.param
    rng = np.random.default_rng(bits)
    limit = 2 ** (bits - 1) - 1
    drawn = rng.laplace(0, scale, COUNT).round()
    codes = np.clip(drawn, -limit, limit).astype(np.int8)
    codes[rng.random(COUNT) < zeros] = 0
    if zeros:
        codes[np.abs(codes) > 5] = 0  # few values, for a palette
        codes[codes == 1] = 2
        codes[codes == -1] = -2
        codes[codes == 4] = 5
        codes[codes == -4] = -5
    return codes, bits


@pytest.mark.parametrize("name", codec_names())
def test_round_trip(name: str, tensor: tuple[np.ndarray, int]) -> None:
    codes, bits = tensor
    found, found_bits = decode_block(encode_block(name, codes, bits, columns=COLUMNS))
    assert found_bits == bits
    assert np.array_equal(found, codes)
