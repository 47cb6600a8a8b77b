"""Encoded blocks in the user's cache: found again, checked, bounded, and left alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from azsim.cli import main
from azsim.compiler import block_cache, residence
from azsim.compiler.residence import encode_codes
from azsim.errors import CompileError
from azsim.files import make_room
from azsim.frontend.workload import load_workload
from azsim.hardware import load_hardware
from azsim.inputs import fetch
from azsim.ir import CodecChoice
from azsim.pipeline import compile_workload
from azsim.stages import prove as stage
from transducer import Sizes, transducer_workload, write_workload

_SMALL = Sizes(features=80, encoder=96, prediction=64, joint=64, symbols=64)
_BITMAP = CodecChoice("bitmap")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("AZSIM_CACHE_DIR", str(tmp_path / "cache"))
    fetch.cache_directory.cache_clear()
    yield tmp_path / "cache" / "blocks"
    fetch.cache_directory.cache_clear()


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Codecs of the blocks that are really encoded."""
    names: list[str] = []
    encode = residence.encode_block

    def watched(name: str, *arguments: object, **more: object) -> bytes:
        names.append(name)
        return encode(name, *arguments, **more)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(residence, "encode_block", watched)
    return names


def _codes(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.integers(-127, 128, (64, 96)) * rng.integers(0, 2, (64, 96))).astype(np.int8)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*/*") if path.is_file()]


@pytest.mark.slow
def test_a_second_compilation_encodes_nothing_and_makes_the_same_bytes(
    tmp_path: Path, cache: Path, encoded: list[str]
) -> None:
    contents = transducer_workload(_SMALL, frames=3)
    workload = load_workload(write_workload(tmp_path, contents))
    hardware = load_hardware("az1", ["weight_sram.bytes=262144"])
    first = compile_workload(workload, hardware)
    large = len(_files(cache)) - 1  # and the proof
    assert large > 10
    count = len(encoded)
    encoded.clear()
    second = compile_workload(workload, hardware)
    assert len(encoded) == count - large  # small ones are encoded each time
    assert second.image.data.tobytes() == first.image.data.tobytes()
    assert second.program == first.program


@pytest.mark.slow
def test_a_program_that_was_proved_is_not_proved_again(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = load_workload(write_workload(tmp_path, transducer_workload(_SMALL)))
    hardware = load_hardware("az1")
    compiled = compile_workload(workload, hardware)
    looked_at: list[str] = []
    check = stage.check_program

    def watched(*arguments: object) -> object:
        looked_at.append("once")
        return check(*arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(stage, "check_program", watched)
    stage.prove(compiled, hardware)
    assert looked_at == []
    image = replace(compiled.image, data=compiled.image.data.copy())
    image.data[-1] ^= 1
    program = replace(compiled.program, regions=compiled.program.regions[::-1])
    for other in (replace(compiled, image=image), replace(compiled, program=program)):
        looked_at.clear()
        stage.prove(other, hardware)
        assert looked_at == ["once"]
    # A program with something to find is never noted.
    wrong = replace(compiled.program, regions=compiled.program.regions[1:])
    for _ in range(2):
        with pytest.raises(CompileError):
            stage.prove(replace(compiled, program=wrong), hardware)


def test_everything_that_decides_a_block_is_in_its_name(cache: Path, encoded: list[str]) -> None:
    codes = _codes()
    first = encode_codes(_BITMAP, codes, 8)
    assert encode_codes(_BITMAP, codes.copy(), 8) == first
    assert encoded == ["bitmap"]
    other = codes.copy()
    other[3, 4] ^= 1
    for choice, matrix, bits in (
        (_BITMAP, other, 8),
        (_BITMAP, codes.reshape(96, 64), 8),
        (CodecChoice("bitmap", {"palette": True}), codes, 8),
        (CodecChoice("huffman"), codes, 8),
    ):
        encode_codes(choice, matrix, bits)
    assert encoded == ["bitmap", "bitmap", "bitmap", "bitmap", "huffman"]
    assert len(_files(cache)) == 5


@pytest.mark.parametrize("change", ["cut", "flip", "empty"])
def test_a_broken_file_is_none(cache: Path, encoded: list[str], change: str) -> None:
    block = encode_codes(_BITMAP, _codes(), 8)
    (path,) = _files(cache)
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes({"cut": data[:-1], "flip": data, "empty": b""}[change])
    assert encode_codes(_BITMAP, _codes(), 8) == block
    assert len(encoded) == 2
    assert encode_codes(_BITMAP, _codes(), 8) == block
    assert len(encoded) == 2  # whole again


def test_other_sources_of_the_codecs_are_other_blocks(
    cache: Path, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encode_codes(_BITMAP, _codes(), 8)
    monkeypatch.setattr(block_cache, "code_version", lambda module: f"{module} changed")
    encode_codes(_BITMAP, _codes(), 8)
    assert len(encoded) == 2


def test_what_was_used_longest_ago_goes(cache: Path) -> None:
    for seed in range(8):
        encode_codes(_BITMAP, _codes(seed), 8)
    for age, path in enumerate(sorted(_files(cache))):
        os.utime(path, (1_000_000 + age, 1_000_000 + age))
    kept = sorted(_files(cache))
    size = sum(path.stat().st_size for path in kept)
    make_room(cache, size)
    assert sorted(_files(cache)) == kept
    make_room(cache, size - 1)
    left = sorted(_files(cache))
    assert left == kept[len(kept) - len(left) :]
    assert sum(path.stat().st_size for path in left) <= 0.75 * size


def test_small_blocks_and_an_unwritable_folder_are_left_alone(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode_codes(_BITMAP, _codes()[:8], 8)
    assert not cache.exists()
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text("no folder")
    encode_codes(_BITMAP, _codes(), 8)


@pytest.mark.slow
def test_no_cache_neither_reads_nor_writes(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_workload(tmp_path, transducer_workload(_SMALL))
    assert main(["compile", str(path), "--no-cache"]) == 0
    assert not cache.exists()
    assert main(["compile", str(path)]) == 0
    assert _files(cache)
    capsys.readouterr()
