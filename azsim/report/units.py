"""Numbers as people read them, each with its unit."""

from __future__ import annotations

__all__ = [
    "byte_count",
    "compact",
    "counted",
    "decibels",
    "duration",
    "frequency",
    "number",
    "percent",
    "rate",
    "significant",
    "size",
    "times",
]

_PREFIXES = ("", "k", "M", "G", "T", "P")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def number(value: int) -> str:
    """``1,234,567``."""
    return f"{value:,}"


def counted(value: int, noun: str) -> str:
    """``1 frame``, ``2 frames``."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def compact(value: float) -> str:
    """Three digits and a decimal prefix: ``23.9 M``."""
    scaled, step = float(value), 0
    # 999.5 and more would show as a fourth digit.
    while abs(scaled) >= 999.5 and step < len(_PREFIXES) - 1:
        scaled, step = scaled / 1000, step + 1
    return f"{_digits(scaled, 3)} {_PREFIXES[step]}".rstrip()


def byte_count(value: int) -> str:
    """``277,760 B``, with a binary unit behind it where that is easier to read."""
    scaled, step = float(value), 0
    while abs(scaled) >= 1024 and step < len(_BINARY) - 1:
        scaled, step = scaled / 1024, step + 1
    rounded = f" ({_digits(scaled, 4)} {_BINARY[step]})" if step else ""
    return f"{value:,} B{rounded}"


def duration(seconds: float) -> str:
    """``15.67 µs``: four digits."""
    if seconds == 0:
        return "0 s"
    unit, name = next(((u, n) for u, n in _TIMES if abs(seconds) >= 0.99995 * u), _TIMES[-1])
    return f"{_digits(seconds / unit, 4)} {name}"


def size(num_bytes: float) -> str:
    """``2.69 MB``, in powers of ten as traffic is given."""
    text = compact(num_bytes)
    return f"{text}B" if " " in text else f"{text} B"


def significant(value: float, digits: int = 4) -> str:
    """``1,234``, ``0.0001581``: that many digits, and no exponent above 1e-4."""
    return _digits(value, digits)


def rate(bytes_per_s: float) -> str:
    """``481 MB/s``, in powers of ten as DRAM rates are given."""
    return f"{size(bytes_per_s)}/s"


def frequency(hertz: float) -> str:
    """``500 MHz``."""
    text = compact(hertz)
    return f"{text}Hz" if " " in text else f"{text} Hz"


def percent(part: float, whole: float = 1.0) -> str:
    """``13.9 %``; a dash where there is no whole."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def times(ratio: float) -> str:
    """``1.58 x``."""
    return f"{_digits(ratio, 3)} x"


def decibels(value: float) -> str:
    """``32.1 dB``."""
    return f"{value:.1f} dB"


def _digits(value: float, significant: int) -> str:
    """That many digits, all digits before the point, no exponent above 1e-4."""
    if abs(value) >= 10**significant:
        return f"{value:,.0f}"
    return f"{value:.{significant}g}"
