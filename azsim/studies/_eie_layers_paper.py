"""What the paper of EIE says of its nine layers, for comparison; nothing here is simulated."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ABSTRACT_FRAMES_PER_S", "LAYERS", "Published"]


@dataclass(frozen=True)
class Published:
    """A row of the paper's table of wall-clock times, EIE with 64 processing elements.

    Attributes
    ----------
    title : str
        As the paper calls the layer.
    theoretical_us, actual_us : float
        Microseconds for one input vector.
    """

    title: str
    theoretical_us: float
    actual_us: float


# Han et al., EIE, ISCA 2016 (arXiv 1602.01528), table IV, as others took it from the paper:
# cucapra/fodlam, raw/eie-raw.csv and data/eie-layers.csv.
LAYERS = {
    "alex_6": Published("Alex-6", 28.1, 30.3),
    "alex_7": Published("Alex-7", 11.7, 12.2),
    "alex_8": Published("Alex-8", 8.9, 9.9),
    "vgg_6": Published("VGG-6", 28.1, 34.4),
    "vgg_7": Published("VGG-7", 7.9, 8.7),
    "vgg_8": Published("VGG-8", 7.3, 8.4),
    "nt_we": Published("NT-We", 5.2, 8.0),
    "nt_wd": Published("NT-Wd", 13.0, 13.9),
    "nt_lstm": Published("NT-LSTM", 6.5, 7.5),
}

ABSTRACT_FRAMES_PER_S = 18_800
"""The three layers of AlexNet one after the other, as the paper's abstract says."""
