"""Blocks: what a compressed block becomes on a chip."""

from __future__ import annotations

import numpy as np

from azsim.codecs import block_codec, block_column_entries, decode_block, decode_named_block
from azsim.errors import CodecError, MachineError
from azsim.hardware.description import Hardware
from azsim.machine.tile import Codes, Tile, digest_of, known_tile, share_tile
from azsim.machine.view import View

__all__ = ["BlockDecoder"]


class BlockDecoder:
    """Turns blocks into tiles, and refuses those that the chip cannot decode.

    Attributes
    ----------
    is_at_read : bool
        Whether weight SRAM holds blocks, not dense tiles.
    """

    def __init__(self, hardware: Hardware) -> None:
        self.is_at_read = hardware.decoder.at == "read"
        self._codecs = frozenset(hardware.decoder.codecs)
        self._kind = self._codecs, self.is_at_read
        self._mac_lanes = hardware.mac.lanes
        self._codes = Codes()

    def at_fill(self, encoded: bytes, target: View, place: str) -> Tile:
        """Tile of a block that weight SRAM holds dense.

        Parameters
        ----------
        encoded : bytes
        target : View
            Where it goes.
        place : str
            Begins what is said of a block that the target cannot take.

        Raises
        ------
        MachineError
            If the chip has no such codec, or the codes are too wide or not as many as wanted.
        CodecError
            If the block is malformed.
        """
        kind = self._kind, target.rows, target.cols, target.element_bits
        tile = known_tile(encoded, kind)
        if tile is not None:
            return tile
        codes, bits, codec = decode_named_block(encoded)
        if self.is_at_read and codec != "raw":
            raise MachineError(
                f"{place} is coded with '{codec}' "
                "and would be dense in weight SRAM, but the decoder decodes at read"
            )
        if codec not in self._codecs:
            known = ", ".join(sorted(self._codecs))
            raise MachineError(f"{place} is coded with '{codec}', the decoder knows {known}")
        if bits > target.element_bits:
            raise MachineError(f"{place} has {bits}-bit codes, its view holds {target.dtype}")
        if codes.size != target.num_elements:
            found = f"{codes.size} codes, its view {target.rows} x {target.cols}"
            raise MachineError(f"{place} has {found}")
        matrix = self._codes.keep(codes, target.rows, target.cols)
        return share_tile(Tile(matrix, digest_of(matrix, encoded), encoded), kind)

    def at_read(self, encoded: bytes) -> Tile:
        """Tile of a block that weight SRAM holds compressed.

        Raises
        ------
        CodecError
            If the chip has no such codec, the block is malformed, or dealt out to other lanes.
        """
        codec = block_codec(encoded)
        if codec not in self._codecs:
            known = ", ".join(sorted(self._codecs))
            raise CodecError(f"it is coded with '{codec}', the decoder knows {known}")
        lanes, columns = block_column_entries(encoded).shape
        codes, _ = decode_block(encoded)
        matrix = np.ascontiguousarray(codes.reshape(-1, columns), np.int8)
        if lanes != min(self._mac_lanes, len(matrix)):
            raise CodecError(
                f"its rows are dealt out to {lanes} lanes, the array has {self._mac_lanes}"
            )
        return Tile(matrix, digest_of(matrix, encoded), encoded)
