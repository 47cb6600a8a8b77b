"""What the documents say is so: commands, output, snippets, tables, links."""

from __future__ import annotations

import argparse
import doctest
import re
from pathlib import Path

import numpy as np
import pytest

from azsim import cli
from azsim.frontend.workload import load_workload
from azsim.hardware import reference
from azsim.isa._assembly_directives import DIRECTIVES
from azsim.pipeline import run, run_kernel

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]

FIRST_COMMAND = (
    "python3 -m venv .venv && .venv/bin/pip install -q . && "
    ".venv/bin/azsim run workloads/speech_commands_word.yaml"
)
SECOND_COMMAND = '.venv/bin/pip install -q -e ".[test]" && .venv/bin/pytest -n auto'
OUTPUT = re.compile(
    r"(<!-- output of: azsim run workloads/speech_commands_word\.yaml -->\n```text\n)(.*?)"
    r"(```\n<!-- end -->)",
    re.DOTALL,
)


def section(title: str) -> str:
    """The text of a chapter of the README."""
    found = re.search(
        rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", readme(), re.MULTILINE | re.DOTALL
    )
    assert found, f"README.md has no chapter '{title}'"
    return found[1]


def readme() -> str:
    return README.read_text(encoding="utf-8")


def first_cells(text: str) -> set[str]:
    """Words in code marks of the first column of a chapter's tables."""
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_readme_begins_with_the_two_commands() -> None:
    assert [block.strip() for block in blocks("sh", readme())] == [FIRST_COMMAND, SECOND_COMMAND]


def test_the_checks_run_what_the_readme_says() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert FIRST_COMMAND in script
    assert SECOND_COMMAND in script


def test_every_room_is_on_the_map() -> None:
    rooms = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in (ROOT / "azsim").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    shown = re.findall(r"`([a-z_]+(?:/|\.py))`", section("Map of the code"))
    assert {room for room in rooms if not room.startswith("__")} <= set(shown)


def without_host_times(text: str) -> str:
    """Output without what the host took, which is another time each time."""
    return re.sub(r"^(  front end +)\S+ m?s +", r"\1... ", text, flags=re.MULTILINE)


@pytest.mark.slow
def test_the_output_in_the_readme_is_the_runs(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    update_golden: bool,
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(ROOT)
    folder = tmp_path / "speech_commands_word"
    assert cli.main(["run", "workloads/speech_commands_word.yaml", "-o", str(folder)]) == 0
    printed = capsys.readouterr().out.replace(str(folder), "reports/runs/speech_commands_word")
    shown = OUTPUT.search(readme())
    assert shown, "README.md shows no output"
    if update_golden:
        README.write_text(OUTPUT.sub(lambda m: m[1] + printed + m[3], readme()), encoding="utf-8")
        return
    assert without_host_times(shown[2]) == without_host_times(printed), (
        "README.md shows other output; write it anew: pytest tests/test_docs.py --update-golden"
    )


@pytest.mark.fetch
def test_the_python_of_the_readme_runs() -> None:
    (code,) = blocks("python", readme())
    test = doctest.DocTestParser().get_doctest(code, {}, "README.md", str(README), 0)
    said: list[str] = []
    assert not doctest.DocTestRunner().run(test, out=said.append).failed, "".join(said)


def test_the_workload_of_the_readme_runs(tmp_path: Path) -> None:
    (text,) = blocks("yaml", readme())
    path = tmp_path / "tiny.yaml"
    path.write_text(text, encoding="utf-8")
    workload = load_workload(path)
    result = run(workload, verify=True)
    assert result.comparison is not None
    assert result.comparison.bit_exact
    assert {weight.codec for weight in result.weights} == {"zero_run"}


@pytest.mark.parametrize("page", [README, ROOT / "docs" / "kernels.md"], ids=lambda page: page.name)
def test_the_kernels_that_the_documents_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "isa").symlink_to(ROOT / "isa")
    commands = re.findall(r"^azsim (.*isa/examples.*)$", page.read_text("utf-8"), re.MULTILINE)
    assert commands
    for command in commands:
        output = [] if " -o " in command else ["-o", "out"]
        assert cli.main([*command.split(), *output]) == 0


def test_every_directive_is_on_the_page_of_kernels() -> None:
    page = (ROOT / "docs" / "kernels.md").read_text(encoding="utf-8")
    assert set(DIRECTIVES) == set(re.findall(r"`(\.[a-z]+)[ `]", page)) - {".azs", ".npz"}


def test_the_kernel_of_the_documents_runs(tmp_path: Path) -> None:
    text = blocks("text", (ROOT / "docs" / "kernels.md").read_text(encoding="utf-8"))[0]
    path = tmp_path / "relu.azs"
    path.write_text(text, encoding="utf-8")
    x = np.linspace(-1, 1, 32, dtype=np.float32).reshape(4, 8)
    result = run_kernel(path, {"x": x})
    assert (result.outputs["y"] == np.maximum(x, 0)).all()
    assert result.races == ()


def test_every_command_is_in_the_readme() -> None:
    parser = cli.build_parser()
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    written = {cell.split()[1] for cell in first_cells(section("Commands"))}
    assert written == {name.split()[0] for name in commands.choices}


def test_every_number_of_a_summary_is_defined_in_the_readme(tmp_path: Path) -> None:
    (text,) = blocks("yaml", readme())
    path = tmp_path / "tiny.yaml"
    path.write_text(text, encoding="utf-8")
    summary = run(load_workload(path), timeline=False).summary
    chapter = section("Every reported number")
    assert first_cells(chapter) == set(summary)
    layers = summary["layers"]
    assert isinstance(layers, list)
    after = chapter[chapter.index("Of each layer:") :]
    assert set(layers[0]) <= set(re.findall(r"`([^`]+)`", after))


def test_the_tables_of_the_hardware_are_fresh() -> None:
    page = (ROOT / "docs" / "machine.md").read_text(encoding="utf-8")
    assert page == reference.with_tables(page), (
        "docs/machine.md is old; write it anew: python -m azsim.hardware.reference"
    )
    assert "| `mac.dataflow` |  | timing | `inner`, `outer` |" in page
    assert "| `mac.lanes` | lanes | timing | 1 to 4,096 |" in page
    assert "| `decoder.codecs` |  | structural | names of codecs |" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#][^)]*)\)", text):
        if not target.startswith("https://"):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_the_documents_name_exist(page: Path) -> None:
    named = re.findall(r"`((?:azsim|docs|isa|tests|workloads)/[\w./]*)`", page.read_text("utf-8"))
    placeholders = ("NAME", "ENGINE", "MNEMONIC")
    for name in named:
        if not any(word in name for word in placeholders):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_the_changelog_has_a_place_for_model_changes() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert versions[0].startswith("[Unreleased]")
    for version in versions:
        assert "### Model changes" in version, f"{version.splitlines()[0]}: no 'Model changes'"
