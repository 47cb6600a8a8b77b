"""The corpus: who speaks, what is drawn, noise, and a small one made whole."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from azsim import cli
from azsim.errors import InputError
from azsim.inputs.audio import read_wav
from azsim.inputs.features import preset_features
from azsim.inputs.front_end import log_mel_features
from azsim.resources import workloads_directory
from azsim.speech import engines, make
from azsim.speech.corpus import Corpus, foreign_to_corpus
from azsim.speech.engines import Request, check_installed, speak
from azsim.speech.excerpt import EXCERPT, choose, write_excerpt
from azsim.speech.grammar import CHARACTERS, WORDS, part_of
from azsim.speech.noise import KINDS, LEVEL, channel, mix, noise
from azsim.speech.plan import SETS, Settings, plan
from azsim.speech.voices import SPEAKERS, Speaker, speakers_of

SMALL = Settings(seed=3, utterances=24, copies=2, tests=6)


def silent(stage: str, done: int, total: int) -> None:
    pass


# ----------------------------------------------------------------------------------- voices


def test_no_voice_of_training_is_in_a_test() -> None:
    heard = {name: speakers_of(name) for name in ("train", "unseen_voices", "unseen_engines")}
    assert sum(map(len, heard.values())) == len(SPEAKERS)
    names = {name: {speaker.name for speaker in speakers} for name, speakers in heard.items()}
    assert not names["train"] & (names["unseen_voices"] | names["unseen_engines"])
    voices = [(s.engine, voice) for s in SPEAKERS for voice in s.voices]
    assert len(voices) == len(set(voices))
    trained = {speaker.engine for speaker in heard["train"] + heard["unseen_voices"]}
    assert {speaker.engine for speaker in heard["unseen_engines"]} == {"festival"}
    assert trained == {"espeak-ng", "flite"}
    espeak = [speaker for speaker in SPEAKERS if speaker.engine == "espeak-ng"]
    unseen = [speaker for speaker in espeak if speaker.heard_in == "unseen_voices"]
    assert len(espeak) / 6 <= len(unseen) + 1 <= len(espeak) / 4


# ------------------------------------------------------------------------------------- plan


def test_the_same_seed_draws_the_same() -> None:
    for name in SETS:
        assert plan(SMALL, name) == plan(SMALL, name)
        assert plan(SMALL, name) != plan(Settings(4, 24, 2, 6), name)


def test_what_is_drawn_for_training() -> None:
    drawn = plan(Settings(utterances=4_000, copies=3), "train")
    spoken = [utterance for utterance in drawn if utterance.request]
    assert 0.03 < 1 - len(spoken) / len(drawn) < 0.05
    assert {part_of(utterance.text) for utterance in spoken} == {"train"}
    mixings = [mixing for utterance in spoken for mixing in utterance.mixings]
    assert len(mixings) == 3 * len(spoken)
    assert 5 <= min(mixing.snr_db for mixing in mixings) < 6
    assert 39 < max(mixing.snr_db for mixing in mixings) <= 40
    flite = [u for u in spoken if u.speaker and u.speaker.engine == "flite"]
    assert 0.25 < len(flite) / len(spoken) < 0.4
    assert min(utterance.before for utterance in spoken) >= 1_600
    assert min(utterance.after for utterance in spoken) >= 6_400


@pytest.mark.parametrize("name", ["unseen_voices", "unseen_engines", "out_of_vocabulary"])
def test_what_is_drawn_for_tests(name: str) -> None:
    drawn = plan(Settings(tests=300), name)
    assert {mixing.snr_db for utterance in drawn for mixing in utterance.mixings} == {15}
    trained = set(speakers_of("train"))
    assert not trained & {utterance.speaker for utterance in drawn}
    foreign = [set(utterance.text.split()) - set(WORDS) for utterance in drawn]
    if name == "out_of_vocabulary":
        assert len({utterance.text for utterance in drawn}) == 100
        assert all(foreign)
    else:
        assert not any(foreign)
        assert {part_of(utterance.text) for utterance in drawn} == {"test"}


def test_settings_that_are_out_of_range() -> None:
    with pytest.raises(InputError) as caught:
        Settings(seed=-1, utterances=0, copies=17)
    assert str(caught.value).splitlines() == [
        "corpus: seed out of range, found -1, allowed: 0 to 4294967295",
        "corpus: utterances out of range, found 0, allowed: 1 to 1000000",
        "corpus: copies out of range, found 17, allowed: 1 to 16",
    ]


# ------------------------------------------------------------------------------------ noise


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples.astype(float) ** 2)))


def voices() -> list[np.ndarray]:
    generator = np.random.default_rng(9)
    return [generator.integers(-9_000, 9_000, n).astype(np.int16) for n in (900, 20_000, 7_000)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_samples", [400, 16_001, 50_000])
def test_noise_has_a_level_of_1_and_a_seed(kind: str, num_samples: int) -> None:
    made = [noise(kind, num_samples, np.random.default_rng(5), voices()) for _ in range(2)]
    assert made[0].shape == (num_samples,)
    assert made[0].tobytes() == made[1].tobytes()
    assert rms(made[0]) == pytest.approx(1, abs=1e-3)
    assert made[0].tobytes() != noise(kind, num_samples, np.random.default_rng(6)).tobytes()


@pytest.mark.parametrize(("kind", "slope_db"), [("white", 0), ("pink", -3), ("brown", -6)])
def test_the_colour_of_noise(kind: str, slope_db: float) -> None:
    power = abs(np.fft.rfft(noise(kind, 160_000, np.random.default_rng(0)))) ** 2
    hz = np.fft.rfftfreq(160_000, 1 / 16_000)
    octaves_db = [
        10 * np.log10(power[(hz >= low) & (hz < 2 * low)].mean())
        for low in (250, 500, 1_000, 2_000)
    ]
    np.testing.assert_allclose(np.diff(octaves_db), slope_db, atol=0.4)


@pytest.mark.parametrize("snr_db", [5.0, 15.0, 40.0])
@pytest.mark.parametrize("gain_db", [-18.0, 0.0])
def test_mixing_keeps_what_it_promises(snr_db: float, gain_db: float) -> None:
    generator = np.random.default_rng(1)
    sounding = slice(3_000, 20_000)
    speech = np.zeros(30_000)
    speech[sounding] = 0.2 * np.sin(np.arange(17_000) / 5)
    mixed = mix(speech, noise("white", 30_000, generator), sounding, snr_db, gain_db) / 32767
    level_db = 20 * np.log10(LEVEL) + gain_db
    noise_db = 20 * np.log10(rms(mixed[20_000:]))
    assert noise_db == pytest.approx(level_db - snr_db, abs=0.3)
    spoken = np.sqrt(rms(mixed[sounding]) ** 2 - rms(mixed[20_000:]) ** 2)
    assert 20 * np.log10(spoken) == pytest.approx(level_db, abs=0.3)


def test_mixing_without_speech_and_beyond_the_range() -> None:
    added = noise("white", 8_000, np.random.default_rng(2))
    alone = mix(np.zeros(8_000), added, slice(0, 8_000), 15.0, -20.0)
    assert rms(alone) / 32767 == pytest.approx(LEVEL / 10, rel=0.01)
    loud = mix(np.zeros(8_000), added, slice(0, 8_000), 15.0, 60.0)
    assert abs(loud.astype(int)).max() == round(0.98 * 32767)


def test_a_channel_is_gentle() -> None:
    tone = np.sin(2 * np.pi * 900 / 16_000 * np.arange(16_000))
    for seed in range(20):
        heard = channel(tone, np.random.default_rng(seed))
        assert len(heard) == len(tone)
        assert abs(20 * np.log10(rms(heard) / rms(tone))) < 1


# ---------------------------------------------------------------------------------- engines


def test_an_engine_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    monkeypatch.setattr(engines, "_FESTIVAL_VOICES", tmp_path)
    with pytest.raises(InputError) as caught:
        check_installed(["flite", "festival"])
    packages = "flite, festival, festvox-kallpc16k, festvox-kdlpc16k"
    assert str(caught.value) == (
        f"corpus: speech synthesizers are missing, found none of: {packages}; "
        f"on Debian: apt-get install {packages.replace(',', '')}"
    )
    assert cli.main(["corpus", "-o", str(tmp_path / "made")]) == 2
    assert not list(tmp_path.iterdir())


def installed() -> None:
    try:
        check_installed()
    except InputError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_every_voice_speaks_the_same_twice() -> None:
    installed()
    requests = [
        Request("stop", s.engine, voice, "en-us" if s.engine == "espeak-ng" else "", 1.1, 0.9)
        for s in SPEAKERS
        for voice in s.voices
    ]
    first, second = speak(requests), speak(requests)
    lengths_s = np.array([len(samples) for samples in first]) / 16_000
    assert lengths_s.min() > 0.2
    assert lengths_s.max() < 1.2
    assert [a.tobytes() for a in first] == [b.tobytes() for b in second]


@pytest.mark.parametrize(
    ("engine", "voice", "accent"),
    [
        ("espeak-ng", "f2", "en-gb"),
        ("flite", "rms", ""),
        ("festival", "ked_diphone", ""),
    ],
)
def test_speed_and_size(engine: str, voice: str, accent: str) -> None:
    installed()
    text = "set the alarm at seven tomorrow"
    plain, quick, large = (
        len(samples)
        for samples in speak(
            [
                Request(text, engine, voice, accent),
                Request(text, engine, voice, accent, speed=1.25),
                Request(text, engine, voice, accent, size=1.1),
            ]
        )
    )
    assert 0.7 < quick / plain < 0.92
    assert large / plain == pytest.approx(1.1, abs=0.02)


def test_voices_that_an_engine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    installed()
    more = (Speaker("x", "espeak-ng", ("f9",), "train"), Speaker("y", "flite", ("kal32",), "train"))
    monkeypatch.setattr(engines, "SPEAKERS", (*SPEAKERS, *more))
    monkeypatch.setattr(engines, "ACCENTS", {"en-gb": 1, "en-moon": 1})
    with pytest.raises(InputError) as caught:
        check_installed()
    assert str(caught.value) == (
        "corpus: voices are unknown to the engine, found espeak-ng f9, flite kal32, "
        "espeak-ng en-moon; allowed: those of the versions in docs/speech.md"
    )


def test_an_engine_that_says_nothing_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 60)

    monkeypatch.setattr(subprocess, "run", hangs)
    with pytest.raises(InputError) as caught:
        engines.versions()
    assert str(caught.value) == (
        "corpus: espeak-ng failed: Command '['espeak-ng', '--version']' timed out after 60 seconds"
    )


def test_an_engine_that_fails() -> None:
    installed()
    with pytest.raises(InputError) as caught:
        speak([Request("stop", "festival", "nobody")])
    assert (
        str(caught.value) == "corpus: festival failed: SIOD ERROR: unbound variable : voice_nobody"
    )


# ------------------------------------------------------------------------------- the corpus


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    installed()
    folder = tmp_path_factory.mktemp("corpus")
    told: list[tuple[str, int, int]] = []
    make.make_corpus(folder, SMALL, lambda *now: told.append(now), processes=2)
    assert told[-1] == ("mixing and features", 24 * 2 + 5 * 6, 24 * 2 + 5 * 6)
    return Corpus.open(folder)


@pytest.mark.slow
def test_a_corpus_holds_what_was_planned(small: Corpus) -> None:
    assert small.names == SETS
    for name in SETS:
        made, planned = small.set(name), plan(SMALL, name)
        assert list(made.texts) == [utterance.text for utterance in planned]
        assert len(made) == small.document["sets"][name]["utterances"]
        assert made.copies == len(planned[0].mixings)
        for copy in range(made.copies):
            found = made.numbers("snr_db", copy)
            wanted = [u.mixings[copy].snr_db if u.text else np.nan for u in planned]
            np.testing.assert_array_equal(found, wanted)
        ends = made.integers("start") + made.integers("samples")
        assert ends[-1] == len(made.audio)
        np.testing.assert_array_equal(made.integers("start")[1:], ends[:-1])
        spoken = made.integers("speech_samples")
        assert ((spoken > 1_600) == [bool(text) for text in made.texts])[spoken > 0].all()


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS[1:])
def test_features_are_those_of_inference(small: Corpus, name: str) -> None:
    made = small.set(name)
    assert made.features().shape == (made.rows[-1], 120)
    for number in range(len(made)):
        wanted = log_mel_features(made.samples(number) / 32768, preset_features("commands"))
        found = made.features()[made.rows[number] : made.rows[number + 1]]
        assert found.tobytes() == wanted.astype(np.float32).tobytes()


def test_training_has_other_noise_in_each_copy(small: Corpus) -> None:
    made = small.set("train")
    assert made.features(0).shape == made.features(1).shape == (made.rows[-1], 120)
    for number in range(len(made)):
        rows = slice(made.rows[number], made.rows[number + 1])
        assert not np.array_equal(made.features(0)[rows], made.features(1)[rows])


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(small: Corpus, tmp_path: Path) -> None:
    make.make_corpus(tmp_path, SMALL, silent, processes=1)
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert len(files) == 1 + 4 * len(SETS) + 1
    for path in files:
        assert (tmp_path / path).read_bytes() == (small.folder / path).read_bytes(), path


@pytest.mark.slow
def test_a_set_alone_has_the_bytes_that_it_has_with_others(small: Corpus, tmp_path: Path) -> None:
    settings = Settings(seed=3, utterances=5, copies=1, tests=6)
    names = [name for name in SETS if name != "train"]
    make.make_corpus(tmp_path, settings, silent, processes=1, sets=names)
    assert Corpus.open(tmp_path).names == tuple(names)
    assert "training_features" not in Corpus.open(tmp_path).document
    assert {path.name for path in tmp_path.iterdir()} == {"corpus.json", *names}
    for name in names:
        assert "babble" in {*small.set(name).columns["noise"]} or name == "noise_only"
        for path in (tmp_path / name).iterdir():
            assert path.read_bytes() == (small.folder / name / path.name).read_bytes(), path


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    installed()
    folder = tmp_path / "made"
    command = ["corpus", "-o", str(folder), "--utterances", "4", "--copies", "1", "--tests", "2"]
    assert cli.main(command) == 0
    shown = capsys.readouterr().out
    for name in SETS:
        assert name in shown
    assert f"Written to {folder}" in shown
    assert cli.main(command) == 0  # a corpus is replaced
    (folder / "notes.txt").touch()
    assert cli.main(command) == 2
    assert capsys.readouterr().err == (
        f"azsim: error: {folder}: will not be replaced, it holds notes.txt, "
        "which azsim did not write; choose another folder\n"
    )


def test_only_a_corpus_is_replaced_by_a_corpus(tmp_path: Path) -> None:
    assert foreign_to_corpus(tmp_path) is None
    (tmp_path / "train").mkdir()
    assert foreign_to_corpus(tmp_path) == "it has no corpus.json of azsim"
    for content in ("a", "[]", "{}", '{"made_by": "x", "sets": {}}', '{"made_by": "azsim corpus"}'):
        (tmp_path / "corpus.json").write_text(content)
        assert foreign_to_corpus(tmp_path) == "its corpus.json is not azsim's"
    (tmp_path / "corpus.json").write_text('{"made_by": "azsim corpus", "sets": {"train": {}}}')
    assert foreign_to_corpus(tmp_path) is None
    (tmp_path / "a").touch()
    assert foreign_to_corpus(tmp_path) == "it holds a, which azsim did not write"


def test_arguments_that_are_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["corpus", "-o", str(tmp_path / "made")]
    for more, sentence in [
        (["--processes", "0"], "corpus: processes out of range, found 0, allowed: 1 to 256"),
        (["--sets", "train,test"], f"corpus: unknown set 'test', allowed: {', '.join(SETS)}"),
        (["--tests", "0"], "corpus: tests out of range, found 0, allowed: 1 to 100000"),
    ]:
        assert cli.main([*command, *more]) == 2
        assert capsys.readouterr().err == f"azsim: error: {sentence}\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("error", [InputError("corpus: x"), KeyboardInterrupt()])
def test_a_corpus_that_ends_early_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def ended(*_: object) -> None:
        raise error

    installed()
    monkeypatch.setattr(make, "_hear_all", ended)
    command = ["corpus", "-o", str(tmp_path / "made"), "--utterances", "2", "--tests", "1"]
    assert cli.main(command) == (2 if isinstance(error, InputError) else 130)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed()
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(1, 1, 10**9))
    with pytest.raises(InputError) as caught:
        make.check_room(Settings(), tmp_path / "a" / "b")
    assert str(caught.value) == (
        f"{tmp_path}: too little room, found 1.0 GB free, the corpus needs about 4.9 GB; "
        "allowed: fewer utterances or copies"
    )

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(make, "_write_table", full)
    with pytest.raises(InputError) as caught:
        make.make_corpus(tmp_path, Settings(0, 1, 1, 1), silent)
    assert str(caught.value) == f"{tmp_path}: cannot be written, No space left on device"


def test_folders_that_are_no_corpus(tmp_path: Path) -> None:
    path = tmp_path / "corpus.json"
    made_anew = "make it: azsim corpus -o DIR"
    for content, sentence in [
        (None, f"{path}: cannot be read, No such file or directory; {made_anew}"),
        ("{", f"{path}: cannot be read, it is no JSON; {made_anew}"),
        ("[]", f"{path}: is no corpus of this azsim; make it anew: azsim corpus -o DIR"),
    ]:
        if content is not None:
            path.write_text(content)
        with pytest.raises(InputError) as caught:
            Corpus.open(tmp_path)
        assert str(caught.value) == sentence
    sets = {"train": {"utterances": 2}}
    path.write_text(json.dumps({"made_by": "azsim corpus", "schema_version": 1, "sets": sets}))
    with pytest.raises(InputError) as caught:
        Corpus.open(tmp_path).set("test")
    assert str(caught.value) == f"{tmp_path}: unknown set 'test', allowed: train"
    with pytest.raises(InputError) as caught:
        Corpus.open(tmp_path).set("train")
    table = tmp_path / "train" / "utterances.csv"
    assert str(caught.value) == f"{table}: cannot be read: No such file or directory"
    anew = "make it anew: azsim corpus -o DIR"
    table.parent.mkdir()
    for content, sentence in [
        ("", f"{table.parent}: found 0 utterances, corpus.json has 2; {anew}"),
        ("text,start\nstop,0\n", f"{table.parent}: found 1 utterances, corpus.json has 2; {anew}"),
        ("text,start\nstop,0\nlo", f"{table}:3: found 1 fields, the head has 2; {anew}"),
    ]:
        table.write_text(content)
        with pytest.raises(InputError) as caught:
            Corpus.open(tmp_path).set("train")
        assert str(caught.value) == sentence
    table.write_text("text,start\nstop,0\nlock,9\n")
    with pytest.raises(InputError) as caught:
        len(Corpus.open(tmp_path).set("train").rows)
    rows = table.parent / "rows.npz"
    assert str(caught.value) == f"{rows}: cannot be read: No such file or directory"


# ------------------------------------------------------------------------------ the excerpt


def test_an_excerpt_is_the_corpus(small: Corpus, tmp_path: Path) -> None:
    write_excerpt(small, tmp_path, {"unseen_voices": 3, "noise_only": 1})
    with (tmp_path / "utterances.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    made = small.set("unseen_voices")
    chosen = choose(made, 3)
    assert [row["text"] for row in rows[: len(chosen)]] == [made.texts[n] for n in chosen]
    for row, number in zip(rows, chosen, strict=False):
        samples, rate_hz = read_wav((tmp_path / row["file"]).read_bytes(), row["file"])
        assert rate_hz == 16_000
        np.testing.assert_array_equal(samples * 32768, made.samples(number))


def test_an_excerpt_replaces_the_one_before(small: Corpus, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    for counts in ({"unseen_voices": 3, "noise_only": 2}, {"unseen_engines": 2}):
        write_excerpt(small, tmp_path, counts)
        with (tmp_path / "utterances.csv").open(encoding="utf-8") as file:
            listed = {row["file"] for row in csv.DictReader(file)}
        assert {f"audio/{path.name}" for path in (tmp_path / "audio").iterdir()} == listed
        assert listed
    assert (tmp_path / "weights").is_dir()


def test_the_recordings_in_the_tree() -> None:
    folder = workloads_directory() / "speech_commands"
    with (folder / "utterances.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {name: sum(row["set"] == name for row in rows) for name in EXCERPT} == EXCERPT
    files = sorted((folder / "audio").iterdir())
    assert sorted(row["file"] for row in rows) == [f"audio/{path.name}" for path in files]
    assert sum(path.stat().st_size for path in files) < 4_000_000
    for row in rows:
        samples, rate_hz = read_wav((folder / row["file"]).read_bytes(), row["file"])
        assert rate_hz == 16_000
        assert 1 < len(samples) / rate_hz <= 2.3
        assert abs(samples).max() < 0.99
        assert set(row["text"].split()) <= set(WORDS)
        assert not row["text"] or part_of(row["text"]) == "test"
    said = {word for row in rows for word in row["text"].split()}
    assert said == set(WORDS)
    assert (folder / "words.txt").read_text().split() == list(WORDS)
    characters = (folder / "characters.txt").read_text().split("\n")
    assert characters == ["<space>", *CHARACTERS[1:], ""]
