"""Local bytes for a reference: a file beside the workload, or a pinned file of a package.

A reference is a path, or ``pypi:NAME==VERSION#member/path``.  A member is read out of the wheel
or the source archive without unpacking anything else and without building or executing anything.
Verified files stay in the user's cache under their hash, where they serve offline.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import tarfile
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from azsim.errors import FetchError
from azsim.files import write_cached

if TYPE_CHECKING:
    from azsim.inputs.index import ArchiveLink

__all__ = ["PYPI", "PackageFile", "cache_directory", "fetch", "parse_reference"]

PYPI = "pypi:"
_REFERENCE = re.compile(r"pypi:([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)#(.+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LARGEST_MEMBER_BYTES = 1 << 30
_BROKEN_ARCHIVE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    OSError,
    EOFError,
    RuntimeError,  # an encrypted member
    NotImplementedError,  # a compression method that zipfile does not know
)


@dataclass(frozen=True)
class PackageFile:
    """What a ``pypi:`` reference names."""

    name: str
    version: str
    member: str


def parse_reference(reference: str) -> PackageFile | None:
    """Read a reference; None for a plain file path.

    Raises
    ------
    FetchError
        If it starts with ``pypi:`` and goes on wrongly.
    """
    if not reference.startswith(PYPI):
        return None
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        allowed = "pypi:NAME==VERSION#path/of/the/file"
        raise FetchError(f"{reference}: not a reference to a package's file, allowed: {allowed}")
    name, version, member = match.groups()
    if member.startswith("/") or "\\" in member or ".." in PurePosixPath(member).parts:
        raise FetchError(f"{reference}: the path leaves the archive, found {member!r}")
    return PackageFile(name, version, member)


@functools.cache
def cache_directory() -> Path:
    """Return the user's cache, or a temporary folder where the cache cannot be written."""
    if named := os.environ.get("AZSIM_CACHE_DIR"):
        directory = Path(named)
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        directory = Path(base) / "azsim"
        if not directory.is_absolute():  # a user without a home
            return _temporary_cache()
    try:
        (directory / "files").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory / "files"):
            return directory
    except OSError:
        return directory if (directory / "files").is_dir() else _temporary_cache()


@functools.cache
def _temporary_cache() -> Path:
    holder = tempfile.TemporaryDirectory(prefix="azsim-", ignore_cleanup_errors=True)
    _KEPT.append(holder)  # lives as long as the process
    return Path(holder.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def fetch(
    reference: str,
    folder: Path,
    sha256: str | None = None,
    archive_sha256: str | None = None,
) -> Path:
    """Return the path of a verified local file.

    Parameters
    ----------
    reference : str
        Path relative to `folder`, or ``pypi:NAME==VERSION#member/path``.
    folder : Path
        Folder of the file that holds the reference.
    sha256 : str, optional
        Hex digest of the file; needed for ``pypi:``.
    archive_sha256 : str, optional
        Hex digest of the archive, which also chooses among several.

    Raises
    ------
    FetchError
        Naming the file, the reason, the cache and how to supply the file by hand.
    """
    for label, digest in (("sha256", sha256), ("archive_sha256", archive_sha256)):
        if digest is not None and not _SHA256.fullmatch(digest):
            raise FetchError(
                f"{reference}: {label} is not a hash, found {digest!r}, allowed: 64 digits 0-9 a-f"
            )
    package = parse_reference(reference)
    if package is None:
        return _local_file(reference, folder, sha256)
    if sha256 is None:
        raise FetchError(f"{reference}: sha256 is missing; a file of a package must be pinned")
    base_name = PurePosixPath(package.member).name
    path = cache_directory() / "files" / sha256 / base_name
    if path.is_file() and _digest(path) == sha256:
        return path
    try:
        return _download(package, path, sha256, archive_sha256)
    except FetchError as error:
        raise FetchError(_explain(reference, str(error), path, sha256)) from None


def _explain(reference: str, reason: str, path: Path, sha256: str) -> str:
    state = " (what lies there now has another hash)" if path.is_file() else ""
    return (
        f"{reference}: cannot be fetched: {reason}\n"
        f"  by hand: put the file with sha256 {sha256} at\n"
        f"  {path}{state},\n"
        f"  or give the path of a file instead of {PYPI}"
    )


def _local_file(reference: str, folder: Path, sha256: str | None) -> Path:
    path = folder / os.path.expanduser(reference)
    if not path.is_file():
        what = "is a folder, a file is needed" if path.is_dir() else "no such file"
        raise FetchError(f"{path}: {what}")
    if sha256 is not None:
        found = _digest(path)
        if found != sha256:
            raise FetchError(f"{path}: wrong sha256, found {found}, allowed: {sha256}")
    return path


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise FetchError(f"{path}: cannot be read: {error.strerror or error}") from None


def _download(package: PackageFile, path: Path, sha256: str, archive_sha256: str | None) -> Path:
    from azsim.inputs.index import list_archives  # brings ssl and http, needed only here

    links = list_archives(package.name, package.version)
    if archive_sha256 is not None:
        chosen = tuple(link for link in links if link.sha256 in ("", archive_sha256))
        if not chosen:
            names = ", ".join(link.file_name for link in links)
            raise FetchError(f"no archive has sha256 {archive_sha256}; the index has {names}")
        links = chosen
    reasons: list[str] = []
    for link in links:
        try:
            with tempfile.TemporaryDirectory(prefix="azsim-") as folder:
                archive = _fetch_archive(link, Path(folder), archive_sha256)
                data = _read_member(archive, package, link.file_name)
        except FetchError as error:
            reasons.append(f"{link.file_name}: {error}")
            continue
        found = hashlib.sha256(data).hexdigest()
        if found == sha256:
            return _store(path, data)
        reasons.append(f"{link.file_name}: wrong sha256 of {package.member}, found {found}")
    raise FetchError("; ".join(reasons))


def _fetch_archive(link: ArchiveLink, folder: Path, archive_sha256: str | None) -> Path:
    from azsim.inputs.index import download

    path = folder / "archive"
    found = download(link.url, path)
    for wanted in (link.sha256, archive_sha256):
        if wanted and wanted != found:
            raise FetchError(f"wrong sha256 of the archive, found {found}, allowed: {wanted}")
    return path


def _read_member(archive: Path, package: PackageFile, file_name: str) -> bytes:
    try:
        if file_name.endswith(".whl"):
            with zipfile.ZipFile(archive) as wheel:
                info = wheel.getinfo(package.member)
                with wheel.open(info) as stream:
                    return _limited(stream, info.file_size)
        with tarfile.open(archive, "r:gz") as source:
            # A source archive has one folder at its top, which the reference leaves out.
            for entry in source:
                if entry.name.partition("/")[2] == package.member and entry.isfile():
                    stream = source.extractfile(entry)
                    if stream is not None:
                        return _limited(stream, entry.size)
    except KeyError:
        pass
    except _BROKEN_ARCHIVE as error:
        raise FetchError(f"the archive cannot be read: {error}") from None
    raise FetchError(f"has no file {package.member}")


def _limited(stream: IO[bytes], size_bytes: int) -> bytes:
    if size_bytes > _LARGEST_MEMBER_BYTES:
        raise FetchError(f"file too large, found {size_bytes}, allowed: {_LARGEST_MEMBER_BYTES}")
    return stream.read(_LARGEST_MEMBER_BYTES)


def _store(path: Path, data: bytes) -> Path:
    try:
        write_cached(path, data)
        return path
    except OSError as error:
        temporary = _temporary_cache() / "files" / path.parent.name / path.name
        if path.is_relative_to(_temporary_cache()):
            raise FetchError(f"cannot be stored: {error.strerror or error}") from None
        return _store(temporary, data)
