"""Owns the checks of the house rules that linters do not know: sizes, first sentences, where evidence may be written."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = sorted(p for top in ("auditlog", "agents_app", "bench") for p in (ROOT / top).rglob("*.py"))
MODULES = [p for p in CODE if p.name != "__init__.py" and "migrations" not in p.parts]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_begins_with_one_sentence_on_what_it_owns(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    first = re.split(r"[.:]( |$)", docstring.replace("\n", " "))[0]
    assert 10 < len(first) <= 240, f"{name_of(path)} must begin with one sentence that says what it owns"


# Shipped alone inside every export (docs/adr/013): whoever reads it has nothing else of ours, so it is one file, and longer.
ONE_FILE = {"auditlog/verify/standalone.py": 1290}


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= ONE_FILE.get(name_of(path), 400), f"{name_of(path)} is too long to be read in one go"
    for function in functions(ast.parse(text)):
        length = (function.end_lineno or 0) - function.lineno + 1
        assert length <= 60, f"{name_of(path)}:{function.lineno} {function.name} has {length} lines"


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_a_broad_except_says_why(path: Path) -> None:
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"\s*except( \(?(Base)?Exception\b.*)?:", line):
            around = lines[max(0, number - 1)] + line + (lines[number + 1] if number + 1 < len(lines) else "")
            assert "#" in around, f"{name_of(path)}:{number + 1}: a broad except needs its reason beside it"


@pytest.mark.parametrize("path", [p for p in CODE if "migrations" not in p.parts], ids=name_of)
def test_no_import_hides_from_the_linter(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\b(import_module|__import__|get_model)\(", text), (
        f"{name_of(path)} imports in a way that import-linter cannot see"
    )


EVIDENCE = r"(event|content|batch|part|bucket)"
MAY_WRITE = {
    "auditlog/store/writer.py": {"INSERT", "COPY"},
    "auditlog/retention/erasure.py": {"UPDATE", "DELETE"},
    "bench/seeded.py": {"COPY"},  # into a database of its own, which ends with the measurement
    "auditlog/retention/execute.py": {"UPDATE"},  # of the bucket's state; its tables change in rewrite.py
}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_evidence_is_written_in_one_place_only(path: Path) -> None:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for verb, pattern in {
                "INSERT": rf"\bINSERT INTO {EVIDENCE}\b", "COPY": rf"\bCOPY {EVIDENCE} .*FROM",
                "UPDATE": rf"\bUPDATE {EVIDENCE}\b", "DELETE": rf"\b(DELETE FROM|TRUNCATE) {EVIDENCE}\b",
            }.items():  # fmt: skip
                if re.search(pattern, node.value):
                    found.add(verb)
    assert found <= MAY_WRITE.get(name_of(path), set()), f"{name_of(path)} changes evidence"


def test_the_writer_is_seen_writing() -> None:
    """The check above must be able to see: it finds what it allows."""
    text = (ROOT / "auditlog/store/writer.py").read_text()
    assert "INSERT INTO content" in text and "COPY event" in text


def test_the_repository_speaks_of_itself_alone() -> None:
    paths = r"(^|[^a-z.])/(home|root|work|mnt|Users)/[a-z]|\.\.[/]shared"
    registries = r"files\.pythonhosted|pypi\.org|registry\.npmjs|--(extra-)?index-url http"
    words = re.compile(f"{paths}|{registries}")
    allowed = {name_of(Path(__file__).resolve())}
    for path in tracked():
        if path.suffix in {".gz", ".png", ".pb", ".zst", ".ico"} or name_of(path) in allowed:
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            assert not words.search(line), f"{name_of(path)}:{number}: {line.strip()[:120]}"


def test_every_place_that_architecture_names_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for named in re.findall(r"`((?:auditlog|agents_app|tests|docs|bench|templates|static)/[^`*<>{} ]*)`", text):
        assert (ROOT / named).exists(), f"ARCHITECTURE.md names {named}, which is not there"
