"""What timing asks of sites, found once for each of them and then a row of a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from azsim.machine.engines.clock import ENGINES
from azsim.machine.trace import Site
from azsim.machine.view import View

__all__ = [
    "ACTIVATION_BITS",
    "AT_READ",
    "CONTROL",
    "ELEMENTS",
    "FENCE",
    "HAS_PIECES",
    "INDEX",
    "KIND",
    "LINE_BYTES",
    "PACED",
    "ROWS",
    "SCALAR_WAIT",
    "WAITS",
    "WEIGHT_BITS",
    "in_dram",
    "site_facts",
]

CONTROL, FENCE, SCALAR_WAIT = -1, len(ENGINES), len(ENGINES) + 1
_NUMBER_OF = {name: number for number, name in enumerate(ENGINES)}

# Columns.  Engine by number, or what the sequencer does; whether it waits for a frame; index of the
# instruction.
KIND, PACED, INDEX = range(3)
# Transfers: bytes in DRAM, if they follow one another; else whether there are several pieces.
LINE_BYTES, HAS_PIECES = range(3, 5)
# Products: rows of activations, elements of the other operand, bits of both, whether the array
# reads the block as it is.  No other instruction has rows.
ROWS, ELEMENTS, WEIGHT_BITS, ACTIVATION_BITS, AT_READ = range(5, 10)
# Encoded wait fields by engine; the last columns.
WAITS = slice(10, 10 + len(ENGINES))

# Operand in DRAM of transfers that begin at one address; others gather their rows, or scatter them.
_AT_ONE_PLACE = {"weight_load": "src", "load": "src", "store": "dst"}
_BY_ROW = {"load_gather": "src", "store_scatter": "dst"}


def site_facts(sites: Sequence[Site]) -> np.ndarray:
    """Facts of sites: (sites, columns) int64."""
    rows = np.frombuffer(b"".join(map(_row, sites)), np.int64)
    return rows.reshape(-1, WAITS.stop)


def in_dram(site: Site) -> View | None:
    """What a transfer reads or writes of DRAM; None for what is no transfer."""
    operand = _AT_ONE_PLACE.get(site.mnemonic) or _BY_ROW.get(site.mnemonic)
    return None if operand is None else site.views[operand]


def _row(site: Site) -> bytes:
    if not site.facts:
        waits = [site.waits.get(engine, 0) for engine in ENGINES]
        row = _kind(site), site.paced, site.index, *_transfer(site), *_product(site), *waits
        site.facts = np.array(row, np.int64).tobytes()
    return site.facts


def _kind(site: Site) -> int:
    if site.engine in _NUMBER_OF:
        return _NUMBER_OF[site.engine]
    if site.mnemonic in ("fence", "halt"):
        return FENCE
    return SCALAR_WAIT if any(site.waits.values()) else CONTROL


def _transfer(site: Site) -> tuple[int, int]:
    view = in_dram(site)
    if view is None:
        return 0, 0
    is_line = site.mnemonic == "weight_load" or (
        site.mnemonic in _AT_ONE_PLACE and _follow_one_another(view)
    )
    return (view.num_bytes, 0) if is_line else (0, 1)


def _follow_one_another(view: View) -> bool:
    """Whether a view's rows do."""
    bits = view.element_bits
    return view.rows == 1 or view.row_stride * bits // 8 == -(-view.cols * bits // 8)


def _product(site: Site) -> tuple[int, int, int, int, int]:
    if site.mnemonic != "mac_matmul":
        return 0, 0, 0, 0, 0
    source, other = site.views["src"], site.views["src2"]
    bits = other.element_bits, source.element_bits
    return source.rows, other.num_elements, *bits, int(other.dtype == "u8")
