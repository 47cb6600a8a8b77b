"""What every weight codec shares: the block header, its checks, and the table of codecs.

A *block* is one tile of weights that decodes alone::

    byte 0       magic 0xA5
    byte 1       format version (1)
    byte 2       codec id
    byte 3       bits per code (2 to 8), high nibble: codec flags
    bytes 4-7    number of codes, little endian
    bytes 8-11   payload length in bytes, little endian
    bytes 12-15  CRC-32 of header bytes 0-11 and the payload, little endian
    bytes 16-    payload, as the codec's docstring says

The checksum is a transport check; a decoder does not trust it and answers a malformed payload
with `CodecError` by itself.

A codec is one module of this package that defines

``ID``
    int, unique.
``encode(codes, bits, **parameters) -> bytes``
    One block, header included, from a 1-D int8 array.
``decode(payload, count, bits, flags) -> ndarray of shape (count,), int8``
    Inverse, from the payload alone; `CodecError` on every malformed one.
``lane_cycles(payload, count, bits, flags, lanes) -> int``
    Cycles that the busiest of `lanes` lanes needs for this very payload, input always ready.
"""

from __future__ import annotations
