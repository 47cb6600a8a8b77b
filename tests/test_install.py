"""The wheel: what it carries, and that it works away from the checkout, with nothing writable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow

TINY = """\
name: tiny
model:
  graph:
    inputs: {x: {shape: [1, 64]}}
    initializers: {w: {shape: [64, 32], random: {seed: 0}}}
    nodes: [{op: MatMul, inputs: [x, w], outputs: [y]}]
    outputs: [y]
input: {random: {seed: 1}}
"""


def call(*command: str, cwd: Path, env: Mapping[str, str]) -> str:
    """What a command prints; fails with what it says."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built by pip; its build backend comes from the package index."""
    folder = tmp_path_factory.mktemp("dist")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    build = ("wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    call(*pip, *build, cwd=folder, env=os.environ)
    (path,) = folder.glob("azsim-*.whl")
    return path


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the wheel installs; its dependencies are this environment's."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def environment(site: Path, **changes: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1", **changes}


def test_the_wheel_carries_every_file_of_the_package_and_its_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        carried = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "azsim").rglob("*")
        if path.suffix in (".css", ".html", ".js", ".py", ".yaml")
    }
    data = {
        f"azsim/_data/{path.relative_to(ROOT).as_posix()}"
        for folder in ("isa", "workloads")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    assert carried == package | data


def test_an_installed_wheel_works_in_an_empty_folder(site: Path, tmp_path: Path) -> None:
    env = environment(site, HOME=str(tmp_path / "home"))
    azsim = (sys.executable, "-m", "azsim")
    empty = tmp_path / "empty"
    empty.mkdir()
    listed = json.loads(call(*azsim, "list", "workloads", "--json", cwd=empty, env=env))
    assert {row["name"] for row in listed} >= {"vad_silero", "vad_silero_60s"}
    (empty / "tiny.yaml").write_text(TINY, encoding="utf-8")
    summary = json.loads(call(*azsim, "run", "tiny.yaml", "--verify", "--json", cwd=empty, env=env))
    assert summary["bit_exact"] is True
    written = empty / "azsim-runs" / "tiny" / "summary.json"
    assert json.loads(written.read_text(encoding="utf-8")) == summary


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder in which nobody can write")
def test_nothing_needs_to_be_writable_but_the_results(site: Path, tmp_path: Path) -> None:
    # /proc refuses even root, for whom read-only folders are writable.
    env = environment(site, HOME="/proc/none")
    before = sorted(site.rglob("*"))
    (tmp_path / "tiny.yaml").write_text(TINY, encoding="utf-8")
    command = (sys.executable, "-m", "azsim", "run", "tiny.yaml", "--verify", "--json")
    summary = json.loads(call(*command, cwd=tmp_path, env=env))
    assert summary["bit_exact"] is True
    assert sorted(site.rglob("*")) == before
