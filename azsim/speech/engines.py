"""Text to samples, by Debian's speech synthesizers: each a program that is called.

All three give the same bytes for the same request.  flite's rms knows no pitch; there the number
changes nothing.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from azsim.errors import InputError
from azsim.inputs.audio import read_wav
from azsim.inputs.resample import resample
from azsim.speech.voices import ACCENTS, SPEAKERS

__all__ = ["PACKAGES", "SAMPLE_RATE_HZ", "Request", "check_installed", "speak", "versions"]

SAMPLE_RATE_HZ = 16_000
PACKAGES = {
    "espeak-ng": ("espeak-ng",),
    "flite": ("flite",),
    "festival": ("festival", "festvox-kallpc16k", "festvox-kdlpc16k"),
}
"""Debian's packages of each engine, with the voices that are used."""

_WORDS_PER_MINUTE = 165
_AMPLITUDE = "50"
"""Half of espeak-ng's own, at which a third of its variants are clipped."""
_STEPS_HZ = 50
"""Rates that a resampling factor is rounded to; few of them need few filters."""
_FESTIVAL_PITCH_HZ = 105
_FESTIVAL_VOICES = Path("/usr/share/festival/voices")
_TIMEOUT_S = 300


@dataclass(frozen=True)
class Request:
    """Something to be said.

    Attributes
    ----------
    text : str
    engine : str
    voice : str
        As the engine calls it.
    accent : str
        espeak-ng's; empty for the others.
    speed : float
        1 is the engine's own.
    pitch : float
        1 is the voice's own.
    size : float
        Of the speaker: above 1 pitch and formants are lower, and all takes longer.
    """

    text: str
    engine: str
    voice: str
    accent: str = ""
    speed: float = 1.0
    pitch: float = 1.0
    size: float = 1.0


def check_installed(engines: Sequence[str] = tuple(PACKAGES)) -> None:
    """Check that the engines and the voices of the table are there.

    espeak-ng and flite take another voice, and say nothing of it, where one is unknown.

    Raises
    ------
    InputError
        With the packages, or the voices, that are missing.
    """
    missing = [package for engine in engines for package in _missing(engine)]
    if missing:
        raise InputError(
            f"corpus: speech synthesizers are missing, found none of: {', '.join(missing)}; "
            f"on Debian: apt-get install {' '.join(missing)}"
        )
    wanted = [
        (speaker.engine, voice)
        for speaker in SPEAKERS
        if speaker.engine in engines
        for voice in speaker.voices
    ]
    if "espeak-ng" in engines:
        wanted += [("espeak-ng", accent) for accent in ACCENTS]
    unknown = [f"{engine} {voice}" for engine, voice in wanted if voice not in _known(engine)]
    if unknown:
        raise InputError(
            f"corpus: voices are unknown to the engine, found {', '.join(unknown)}; "
            "allowed: those of the versions in docs/speech.md"
        )


@functools.cache
def _known(engine: str) -> frozenset[str]:
    """Names of the voices of an engine, accents among them."""
    if engine == "festival":
        return frozenset(path.name for path in _FESTIVAL_VOICES.glob("*/*"))
    if engine == "flite":
        return frozenset(_told("flite", "-lv").partition(":")[2].split())
    told = _told("espeak-ng", "--voices=variant") + _told("espeak-ng", "--voices=en")
    columns = [line.split() for line in told.splitlines()]
    variants = [item.removeprefix("!v/") for line in columns for item in line if "!v/" in item]
    return frozenset(["", *variants, *(line[1] for line in columns if len(line) > 1)])


def _told(engine: str, flag: str) -> str:
    """What an engine prints; InputError if it says nothing for a minute."""
    try:
        done = subprocess.run(
            [engine, flag], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"corpus: {engine} failed: {error}") from None
    return done.stdout


def _missing(engine: str) -> list[str]:
    program, *voices = PACKAGES[engine]
    missing = [] if shutil.which(program) else [program]
    folders = ("kal_diphone", "ked_diphone")
    for package, folder in zip(voices, folders, strict=False):
        if not any(_FESTIVAL_VOICES.glob(f"*/{folder}")):
            missing.append(package)
    return missing


def versions() -> dict[str, str]:
    """Return what each engine says of its version."""
    return {engine: _version(engine) for engine in PACKAGES}


def _version(engine: str) -> str:
    told = _told(engine, "--version")
    lines = [line.strip() for line in told.splitlines() if any(map(str.isdigit, line))]
    named = next((line for line in lines if "version" in line.lower()), (lines or [""])[0])
    return named.split("Data at")[0].strip()


def speak(requests: Sequence[Request]) -> list[np.ndarray]:
    """Let all requests be said.

    Parameters
    ----------
    requests : sequence of Request

    Returns
    -------
    list of ndarray of shape (samples,), float64
        At `SAMPLE_RATE_HZ`, without the silence before and after.

    Raises
    ------
    InputError
        If an engine fails or says nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.wav" for number in range(len(requests))]
        festival = []
        for request, path in zip(requests, paths, strict=True):
            if request.engine == "festival":
                festival.append((request, path))
            else:
                _call(_command(request, path), request.engine)
        if festival:
            script = Path(folder) / "say.scm"
            script.write_text(_festival_script(festival))
            _call(["festival", "-b", str(script)], "festival")
        return [_read(request, path) for request, path in zip(requests, paths, strict=True)]


def _call(command: list[str], engine: str) -> None:
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    try:
        subprocess.run(
            command, check=True, capture_output=True, timeout=_TIMEOUT_S, env=environment
        )
    except (OSError, subprocess.SubprocessError) as error:
        told = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip()
        raise InputError(
            f"corpus: {engine} failed: {told.splitlines()[0] if told else error}"
        ) from None


def _command(request: Request, path: Path) -> list[str]:
    if request.engine == "espeak-ng":
        voice = f"{request.accent}+{request.voice}" if request.voice else request.accent
        words_per_minute = round(_WORDS_PER_MINUTE * request.speed)
        pitch = round(50 * request.pitch)
        return ["espeak-ng", "-v", voice, "-s", str(words_per_minute), "-p", str(pitch),
                "-a", _AMPLITUDE, "-w", str(path), "--", request.text]  # fmt: skip
    stretch = f"duration_stretch={1 / request.speed:.3f}"
    shift = f"f0_shift={request.pitch:.3f}"
    return ["flite", "-voice", request.voice, "--setf", stretch, "--setf", shift,
            "-t", request.text, "-o", str(path)]  # fmt: skip


def _festival_script(requests: Sequence[tuple[Request, Path]]) -> str:
    """A voice's own settings come with its name; the numbers then change them."""
    lines = [
        "(define (say text file)",
        "  (utt.save.wave (utt.synth (eval (list 'Utterance 'Text text))) file 'riff))",
    ]
    for request, path in requests:
        lines.append(f"(voice_{request.voice})")
        mean = f"(list 'target_f0_mean {_FESTIVAL_PITCH_HZ * request.pitch:.1f})"
        lines.append(f"(set! int_lr_params (cons {mean} int_lr_params))")
        lines.append(f"(Parameter.set 'Duration_Stretch {1.1 / request.speed:.3f})")
        lines.append(f'(say "{request.text}" "{path}")')
    return "\n".join(lines) + "\n"


def _read(request: Request, path: Path) -> np.ndarray:
    where = f"{request.engine} {request.voice}: {request.text!r}"
    if not path.is_file():
        raise InputError(f"{where}: the engine wrote nothing")
    samples, rate_hz = read_wav(path.read_bytes(), where)
    taken_hz = round(rate_hz / request.size / _STEPS_HZ) * _STEPS_HZ
    resampled = resample(samples, taken_hz, SAMPLE_RATE_HZ, where)
    spoken = _without_silence(resampled)
    if not len(spoken):
        raise InputError(f"{where}: the engine said nothing")
    return spoken


def _without_silence(samples: np.ndarray) -> np.ndarray:
    """Cut both ends where nothing within 20 ms is louder than 50 dB below the loudest."""
    length = SAMPLE_RATE_HZ // 50
    peak = abs(samples).max(initial=0)
    loud = np.flatnonzero(abs(samples) > peak * 10 ** (-50 / 20)) if peak else np.zeros(0, int)
    if not len(loud):
        return samples[:0]
    return samples[max(0, loud[0] - length) : loud[-1] + length]
