"""Rules of the house that no linter knows: the size of a file, and what waits to be imported."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

HEAVY = {
    *("captum", "cleanlab", "datasets", "datasketch", "duckdb", "feast", "kserve", "kubernetes"),
    *("matplotlib", "mlflow", "nncf", "openvino", "pandera", "pyiceberg", "scipy", "skops"),
    *("skrub", "sklearn", "snorkel", "torch", "transformers"),
}

WAITS_ITSELF = (
    # Imported only by functions of their room, when there is a network to train or to serve.
    "components/training/loop/",
    "components/training/fine_tune.py",
    "components/serving/model/",
    "components/serving/server/",
    "components/serving/observing/",
    "components/shared/machine/inference.py",
    "components/shared/machine/first_token_layer.py",
)


def loaded_at_import(file: Path) -> set[str]:
    """Top-level packages that importing a file imports by itself."""
    names: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


FILES = [
    file.relative_to(ROOT).as_posix()
    for top in ("components", "pipelines", "feature_repo")
    for file in sorted((ROOT / top).rglob("*.py"))
]


@pytest.mark.parametrize("file", [f for f in FILES if not f.startswith(WAITS_ITSELF)])
def test_heavy_libraries_wait_inside_functions(file: str):
    assert not loaded_at_import(ROOT / file) & HEAVY


@pytest.mark.parametrize(
    "file", [f for f in FILES if f.startswith("components") and "__init__" not in f]
)
def test_a_file_holds_one_thought_whole(file: str):
    assert 20 <= len((ROOT / file).read_text().splitlines()) <= 350


TOP = {
    *(".ci", ".dockerignore", ".editorconfig", ".gitignore", ".pre-commit-config.yaml"),
    *("CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "constraints.txt", "pyproject.toml"),
    *("components", "docs", "feature_repo", "images", "manifests", "pipelines", "tests"),
}


def test_nothing_else_is_committed_at_the_top():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert {name.split("/")[0] for name in listed.stdout.splitlines()} <= TOP
