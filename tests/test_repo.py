"""What holds for the tree as a whole: fresh documents, one import direction, nothing unsaid."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from azsim.isa import reference
from azsim.isa.spec import instruction_set
from azsim.resources import isa_directory

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "azsim"
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py"))
# Folders in which one file is one entry of a table.
TABLES = (
    "codecs",
    "compression/pruners",
    "compression/quantizers",
    "machine/instructions",
    "models",
    "ops",
    "studies",
)


# What ``import azsim`` promises; a name goes only with an entry in CHANGELOG.md.
PUBLIC = [
    "KernelResult",
    "RunResult",
    "errors",
    "load_hardware",
    "load_workload",
    "run",
    "run_kernel",
    "sweep",
    "verify",
]


def git_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def declared(tree: ast.Module) -> list[str] | None:
    """The literal ``__all__`` of a module."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return None


def defined(tree: ast.Module) -> set[str]:
    """Names bound at a module's top level."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def test_the_manual_of_the_instruction_set_is_fresh() -> None:
    text = (isa_directory() / "README.md").read_text(encoding="utf-8")
    assert text == reference.manual(instruction_set()), (
        "isa/README.md is old; write it anew: python -m azsim.isa.reference"
    )


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_and_what_is_public(name: str) -> None:
    tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
    if not tree.body:
        assert name.endswith("__init__.py")
        return
    assert ast.get_docstring(tree), f"{name} has no docstring"
    public = declared(tree)
    if public is None:
        # A table's entries all define the same names, which `load_folder` asks for.
        in_table = any(name.startswith(f"azsim/{table}/") for table in TABLES)
        assert in_table or name.endswith(("__init__.py", "__main__.py")), f"{name} has no __all__"
        return
    assert len(set(public)) == len(public)
    if "__getattr__" in defined(tree):
        return  # names that are imported late
    missing = set(public) - defined(tree)
    assert not missing, f"{name}: __all__ names {', '.join(sorted(missing))}, not defined there"


def test_the_public_names_are_pinned() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    assert sorted(declared(tree) or []) == PUBLIC


@pytest.mark.parametrize("table", TABLES)
def test_every_entry_of_a_table_is_documented(table: str) -> None:
    for path in sorted((PACKAGE / table).glob("*.py")):
        if path.name.startswith("_"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        # What its functions mean stands once, where the table is described.
        summary = (ast.get_docstring(tree) or "").split("\n\n")[0]
        assert summary.endswith((".", "::", "?")), (
            f"{path.name}: got '{summary}', expected a sentence"
        )


def test_every_instruction_is_documented() -> None:
    table = instruction_set()
    for spec in table.instructions.values():
        assert spec.summary.endswith("."), spec.mnemonic
        assert spec.description.endswith((".", ")")), spec.mnemonic
        assert spec.timing.endswith("."), spec.mnemonic
    for field in table.fields.values():
        assert field.doc.endswith("."), field.name


def test_every_instruction_with_an_engine_has_its_module() -> None:
    folder = PACKAGE / "machine" / "instructions"
    modules = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    instructions = instruction_set().instructions.values()
    assert modules == {spec.mnemonic for spec in instructions if spec.engine != "control"}


def test_the_import_contract_holds() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run(
        [str(linter), "--no-logo", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
def test_files_name_no_machine_and_no_package_index() -> None:
    # Written so that this file does not hold what it looks for.
    pattern = re.compile(
        rb"(?<![\w.}])/(?:home|root|work)/[\w.]|pypi" + rb"\.org|python" + rb"hosted\.org"
    )
    for path in git_files():
        found = pattern.search(path.read_bytes())
        assert not found, f"{path.relative_to(ROOT)}: names {found and found[0]!r}"


def test_the_wheel_carries_the_data() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"] == {
        "isa": "azsim/_data/isa",
        "workloads": "azsim/_data/workloads",
    }
