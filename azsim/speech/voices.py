"""Who speaks: one table of speakers, their engines, and which set hears them.

A speaker is a base name.  Voices whose settings are near-duplicates share one, and go to the same
set.  Two persons are in two engines: slt is heard in training, by flite, so festival's is in no
set; kal is never heard in training.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ACCENTS", "SPEAKERS", "Speaker", "speakers_of"]


@dataclass(frozen=True)
class Speaker:
    """One speaker.

    Attributes
    ----------
    name : str
        Base name.
    engine : str
        ``espeak-ng``, ``flite`` or ``festival``.
    voices : tuple of str
        What the engine calls them; for espeak-ng a variant, an empty one for its default.
    heard_in : str
        The set: ``train``, ``unseen_voices`` or ``unseen_engines``; development has those of train.
    share : float
        Of the set's utterances, relative to its other speakers.
    """

    name: str
    engine: str
    voices: tuple[str, ...]
    heard_in: str
    share: float = 1.0


ACCENTS = {
    "en-us": 8,
    "en-us-nyc": 2,
    "en-gb": 3,
    "en-gb-x-rp": 2,
    "en-gb-x-gbclan": 1,
    "en-gb-x-gbcwmd": 1,
    "en-gb-scotland": 2,
    "en-029": 1,
}
"""espeak-ng's accents of English, which every variant can have, and how often each is taken."""


def _espeak(name: str, voices: str, heard_in: str = "train", share: float = 1.0) -> Speaker:
    return Speaker(name, "espeak-ng", tuple(voices.split()), heard_in, share)


SPEAKERS: tuple[Speaker, ...] = (
    # espeak-ng's variants, grouped by the formants of their files.  Left out: whispers and creaks
    # (whisper, whisperf, croak, caleb, sandro), robots and other effects (UniRobot, anikaRobot,
    # robosoft*, RicishayMax*, Demonic), formants that no person has (kaukovalta, Tweaky), a speed
    # (fast) and a name with a space (Mr serious).
    Speaker("plain", "espeak-ng", ("", "john", "grandpa"), "train"),  # the default's own formants
    _espeak("m", "m1 m2 m3 m4 m5 m6 m7 m8 Mike Nguyen", share=3.0),  # Nguyen is m8, Mike is m3
    _espeak("f", "f1 f2 f3 f4 f5", share=3.0),
    _espeak("andy", "Andy AnxiousAndy Lee"),  # the same lowest formant
    _espeak("annie", "Annie Alicia"),
    _espeak("diogo", "Diogo Henrique Hugo michel miguel anika", share=2.0),  # the same formants
    _espeak("steph", "steph steph2 steph3", share=1.5),
    _espeak("klatt", "klatt klatt2 klatt3 adam benjamin edward edward2"),  # another synthesizer
    _espeak("david", "david announcer"),  # that synthesizer, with a longer throat
    _espeak("mario", "Mario Michael gustave marcelo"),
    _espeak("max", "max paul"),
    _espeak("iven", "iven iven2 iven3 iven4"),
    _espeak("victor", "victor Denis Storm"),
    _espeak("andrea", "Andrea"),
    _espeak("alex", "Alex"),
    _espeak("boris", "boris"),
    _espeak("jacky", "Jacky"),
    _espeak("marco", "Marco"),
    _espeak("norbert", "norbert"),
    _espeak("pablo", "pablo pedro"),
    _espeak("shelby", "shelby"),
    _espeak("travis", "travis"),
    _espeak("zac", "zac"),  # a child
    # A sixth of the base names, women and men, old and young, is never heard in training.
    _espeak("linda", "linda belinda aunty", "unseen_voices"),
    _espeak("robert", "robert rob quincy", "unseen_voices"),
    _espeak("gene", "Gene Gene2", "unseen_voices"),
    _espeak("ed", "ed", "unseen_voices"),
    _espeak("antonio", "antonio", "unseen_voices"),
    _espeak("grandma", "grandma", "unseen_voices"),
    # flite; its kal is kal16 at 8 kHz, awb_time can only say the time.
    Speaker("rms", "flite", ("rms",), "train", 6.0),
    Speaker("awb", "flite", ("awb",), "train", 6.0),
    Speaker("slt", "flite", ("slt",), "train", 6.0),  # the only woman who is no formant synthesizer
    Speaker("kal", "flite", ("kal16",), "unseen_voices", 1.0),
    # festival is heard in no other set.
    Speaker("kal", "festival", ("kal_diphone",), "unseen_engines"),
    Speaker("ked", "festival", ("ked_diphone",), "unseen_engines"),
)


def speakers_of(heard_in: str) -> list[Speaker]:
    """Return the speakers of a set."""
    return [speaker for speaker in SPEAKERS if speaker.heard_in == heard_in]
