"""Rules of the house that no linter knows: the size of a file, and what waits to be imported."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

HEAVY = {
    *("datasets", "duckdb", "feast", "kserve", "kubernetes", "matplotlib", "mlflow", "nncf"),
    *("openvino", "pandera", "scipy", "sklearn", "torch", "transformers"),
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
