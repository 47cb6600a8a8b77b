"""Which files a package has in the index that pip is configured for.

Nothing is built, installed or executed: the index's page for a project lists files with their
addresses and hashes, as JSON (PEP 691) or as HTML (PEP 503).
"""

from __future__ import annotations

import base64
import configparser
import functools
import hashlib
import html.parser
import http.client
import json
import os
import re
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from azsim.errors import FetchError

__all__ = ["ArchiveLink", "download", "list_archives"]

_TIMEOUT_S = 30.0
_LARGEST_PAGE_BYTES = 64 << 20
_LARGEST_ARCHIVE_BYTES = 2 << 30
_CHUNK_BYTES = 1 << 20
_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"


@dataclass(frozen=True)
class ArchiveLink:
    """One file of a package: its name, address and sha256 (empty where the page gives none)."""

    file_name: str
    url: str
    sha256: str


@dataclass(frozen=True)
class _PipSettings:
    indexes: tuple[str, ...]
    certificates: str | None


def list_archives(name: str, version: str) -> tuple[ArchiveLink, ...]:
    """List a version's wheels that run anywhere and its source archives.

    Parameters
    ----------
    name : str
        Project, in any spelling.
    version : str
        Exact version.

    Returns
    -------
    tuple of ArchiveLink
        Wheels first.

    Raises
    ------
    FetchError
        If no configured index has this version; says why for each.
    """
    reasons: list[str] = []
    for index in _pip_settings().indexes:
        try:
            links = _read_page(f"{index.rstrip('/')}/{_normal(name)}/")
        except FetchError as error:
            reasons.append(str(error))
            continue
        found = [link for link in links if _is_version(link.file_name, name, version)]
        if found:
            return tuple(sorted(found, key=lambda link: not link.file_name.endswith(".whl")))
        versions = sorted({v for link in links if (v := _version_of(link.file_name, name))})
        shown = ", ".join(versions[-8:]) or "none"
        reasons.append(f"the index has no file of version {version}; among those it has: {shown}")
    raise FetchError("; ".join(reasons) or "pip is configured with no-index")


def download(url: str, path: Path) -> str:
    """Copy what an address holds into a file.

    Returns
    -------
    str
        sha256 of the file, hex.

    Raises
    ------
    FetchError
        If it cannot be had whole or is far too large.
    """
    digest = hashlib.sha256()
    size_bytes = 0
    try:
        with _open(url) as source, path.open("wb") as sink:
            while chunk := source.read(_CHUNK_BYTES):
                size_bytes += len(chunk)
                if size_bytes > _LARGEST_ARCHIVE_BYTES:
                    raise FetchError(f"archive too large, allowed: {_LARGEST_ARCHIVE_BYTES} bytes")
                digest.update(chunk)
                sink.write(chunk)
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(f"{_without_secrets(url)} broke off: {error}") from None
    return digest.hexdigest()


def _open(url: str) -> IO[bytes]:
    headers = {"Accept": _ACCEPT, "User-Agent": "azsim"}
    request = urllib.request.Request(_without_user(url), headers=headers)
    if words := _authorization(url):
        request.add_unredirected_header("Authorization", words)  # never sent to another host
    shown = _without_secrets(url)
    try:
        context = ssl.create_default_context(cafile=_pip_settings().certificates)
        return urllib.request.urlopen(request, timeout=_TIMEOUT_S, context=context)
    except urllib.error.HTTPError as error:
        raise FetchError(f"{shown} answered {error.code} {error.reason}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise FetchError(f"{shown} cannot be reached: {reason}") from None


def _authorization(url: str) -> str:
    """Name and password that the configured index of this host carries, or nothing."""
    host = urllib.parse.urlsplit(_without_user(url)).netloc
    for index in _pip_settings().indexes:
        user, _, index_host = urllib.parse.urlsplit(index).netloc.rpartition("@")
        if user and index_host == host:
            words = urllib.parse.unquote(user).encode()
            return "Basic " + base64.b64encode(words).decode("ascii")
    return ""


def _without_user(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _without_secrets(url: str) -> str:
    return urllib.parse.urlsplit(_without_user(url))._replace(query="", fragment="").geturl()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _version_of(file_name: str, name: str) -> str | None:
    if file_name.endswith("-none-any.whl"):
        stem, _, version = file_name.removesuffix(".whl").rsplit("-", 3)[0].partition("-")
    elif file_name.endswith(".tar.gz"):
        stem, _, version = file_name.removesuffix(".tar.gz").rpartition("-")
    else:
        return None
    return version if _normal(stem) == _normal(name) else None


def _is_version(file_name: str, name: str, version: str) -> bool:
    return _version_of(file_name, name) == version


class _Anchors(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a" and (address := dict(attrs).get("href")):
            self.addresses.append(address)


def _read_page(url: str) -> list[ArchiveLink]:
    path = urllib.request.url2pathname(urllib.parse.urlsplit(url).path)
    if url.startswith("file:") and os.path.isdir(path):
        url = url.rstrip("/") + "/index.html"
    try:
        with _open(url) as response:
            base = getattr(response, "url", None) or _without_user(url)
            kind = response.headers.get("Content-Type", "")  # pyright: ignore[reportAttributeAccessIssue]
            data = response.read(_LARGEST_PAGE_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(f"{_without_secrets(url)} broke off: {error}") from None
    try:
        if "json" in kind:
            return [_json_link(entry, base) for entry in json.loads(data)["files"]]
        page = _Anchors()
        page.feed(data.decode("utf-8", "replace"))
        return [_html_link(address, base) for address in page.addresses]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FetchError(f"{_without_secrets(url)} is not the page of a package index") from None


def _json_link(entry: dict[str, object], base: str) -> ArchiveLink:
    hashes = entry.get("hashes")
    sha256 = hashes.get("sha256", "") if isinstance(hashes, dict) else ""
    address = urllib.parse.urljoin(base, str(entry["url"]))
    return ArchiveLink(str(entry["filename"]), address, str(sha256))


def _html_link(address: str, base: str) -> ArchiveLink:
    parts = urllib.parse.urlsplit(urllib.parse.urljoin(base, address))
    hashes = urllib.parse.parse_qs(parts.fragment).get("sha256", [""])
    file_name = urllib.parse.unquote(parts.path.rpartition("/")[2])
    return ArchiveLink(file_name, parts._replace(fragment="").geturl(), hashes[0])


def _config_files() -> Iterator[Path]:
    """Pip's configuration files, the ones that win last."""
    named = os.environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return
    home = Path(os.path.expanduser("~"))  # unlike Path.home, no error for a user without one
    if sys.platform == "win32":
        yield Path(os.environ.get("PROGRAMDATA", "C:/ProgramData")) / "pip" / "pip.ini"
        yield home / "pip" / "pip.ini"
        yield Path(os.environ.get("APPDATA", str(home))) / "pip" / "pip.ini"
        yield Path(sys.prefix) / "pip.ini"
    else:
        for directory in reversed(os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")):
            yield Path(directory) / "pip" / "pip.conf"
        yield Path("/etc/pip.conf")
        yield home / ".pip" / "pip.conf"
        if sys.platform == "darwin":
            yield home / "Library" / "Application Support" / "pip" / "pip.conf"
        yield Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
        yield Path(sys.prefix) / "pip.conf"
    if named:
        yield Path(named)


def _default_index() -> str:
    """Return the index that pip itself uses when nothing is configured; pip knows it."""
    try:
        from pip._internal.models.index import PyPI
    except ImportError:
        raise FetchError(
            "no package index is configured and pip is not installed; set PIP_INDEX_URL"
        ) from None
    return PyPI.simple_url


@functools.cache
def _pip_settings() -> _PipSettings:
    values: dict[str, str] = {}
    for path in _config_files():
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue  # pip says what is wrong with its own files
        for section in ("global", "download"):
            if parser.has_section(section):
                values |= {key.replace("_", "-"): text for key, text in parser.items(section)}
    for key in ("index-url", "extra-index-url", "no-index", "cert"):
        if text := os.environ.get("PIP_" + key.replace("-", "_").upper()):
            values[key] = text
    certificates = values.get("cert") or os.environ.get("SSL_CERT_FILE") or None
    if values.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        return _PipSettings((), certificates)
    indexes = [
        values.get("index-url") or _default_index(),
        *values.get("extra-index-url", "").split(),
    ]
    return _PipSettings(tuple(indexes), certificates)
