"""The Verilog itself, and what happens without the tools."""

from __future__ import annotations

import subprocess

import pytest

from rtl import harness
from rtl.harness import require_rtl, sources


@pytest.mark.parametrize(
    "name", ["mac_array_outer", "pipeline", "pipeline_outer", "dram_system", "tans_decoder"]
)
def test_verilog_is_clean(name: str) -> None:
    """With the default parameters; every other build of a test stops at a warning too."""
    require_rtl()
    for setting in ("", "-GIS_ZERO_RUN=1") if name == "pipeline" else ("",):
        done = subprocess.run(
            ["verilator", "--lint-only", "-Wall", "--top-module", name, *setting.split(),
             *(str(path) for path in harness.modules(name))],
            capture_output=True, text=True,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")


def test_waivers_are_few() -> None:
    waived = {
        (path.name, line.strip())
        for path in sources()
        for line in path.read_text().splitlines()
        if "lint_off" in line
    }
    assert waived == {("memory.v", "/* verilator lint_off BLKSEQ */")}


def test_missing_tools_skip_or_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness.shutil, "which", lambda tool: None)
    monkeypatch.delenv("AZSIM_REQUIRE_RTL", raising=False)
    reason = "RTL is not compared: verilator and g\\+\\+ not found"
    with pytest.raises(pytest.skip.Exception, match=reason):
        require_rtl()
    monkeypatch.setenv("AZSIM_REQUIRE_RTL", "1")
    with pytest.raises(pytest.fail.Exception, match=reason):
        require_rtl()
