"""Files that are whole or not there, whatever happens while they are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from azsim.files import umask, whole_file, write_cached, write_whole


@pytest.fixture
def mask() -> Iterator[int]:
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for data in (b"first", b"second"):
        write_whole(path, data)
        assert path.read_bytes() == data
    with whole_file(path) as file:
        file.write(b"th")
        assert path.read_bytes() == b"second"
        file.write(b"ird")
    assert path.read_bytes() == b"third"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_ends_early_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a"
    write_whole(path, b"before")

    def end_early() -> None:
        with whole_file(path) as file:
            file.write(b"af")
            raise error

    with pytest.raises(type(error)):
        end_early()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_taken_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "folder", b"x")
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "none" / "a", b"x")
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


def test_files_are_the_users_as_any_other_and_those_of_a_cache_private(
    tmp_path: Path, mask: int
) -> None:
    write_whole(tmp_path / "a", b"x")
    write_cached(tmp_path / "b" / "c" / "d", b"y")
    assert umask() == mask
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "b" / "c" / "d").stat().st_mode & 0o777 == 0o600
