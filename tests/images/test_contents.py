import ast
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.images.reader import ROOT, read_dockerfile
from tests.images.test_dockerfiles import EXTRAS, IMAGES, extras_of

OURS = ("components", "feature_repo", "pipelines")


def copied_files(image):
    paths = [ROOT / source for source, _ in read_dockerfile(image).copied()]
    return {
        file
        for path in paths
        for file in ([path] if path.is_file() else path.rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts
    }


def copied_modules(image):
    return {file for file in copied_files(image) if file.suffix == ".py"}


def used_modules(image):
    """Of these the ones that its rooms use: of the shared ground not all belongs to each image."""
    waiting = [file for file in copied_modules(image) if "shared" not in file.parts]
    used: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file in used or not file.is_file():
            continue
        used.add(file)
        waiting += [path for name in imports(file) for path in files_of(name)]
    return used


def files_of(module):
    """Where a module of ours may lie; empty for those of others."""
    path = ROOT.joinpath(*module.split("."))
    ours = module.split(".")[0] in OURS
    return {path.with_suffix(".py"), path / "__init__.py"} if ours else set()


@cache
def imports(module):
    tree = ast.parse(module.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return frozenset(found)


def installed_by(extras):
    """Distributions that the extras bring, with all that these need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    waiting = [*project["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = Requirement(waiting.pop())
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            needs = requires(wanted.name) or []
        except PackageNotFoundError:  # of the cloud extra, which one machine does not install
            continue
        extras_or_none = (*wanted.extras, "")
        for line in needs:
            marker = Requirement(line).marker
            if not marker or any(marker.evaluate({"extra": one}) for one in extras_or_none):
                waiting.append(line)
    return {name for name, _ in seen}


@pytest.mark.parametrize("image", IMAGES)
def test_the_code_of_an_image_finds_what_it_imports(image):
    inside, distributions = copied_modules(image), packages_distributions()
    # Signing is for those who add its extra; without it the code says so in a sentence. Evidently
    # too, in the steps. Ray runs in the predictor alone, for those who add it there.
    installed = installed_by((*extras_of(image), "signing", "ray", "drift-page"))

    def is_there(name):
        owners = distributions.get(name.split(".")[0], ())
        if ours := files_of(name):
            return ours & inside
        # Of the predictor torch and Feast are for those who add them.
        owners = {canonicalize_name(owner) for owner in owners}
        return not owners or image == "predictor" or owners & installed

    used = [(file, name) for file in used_modules(image) for name in imports(file)]
    assert [f"{file} imports {name}" for file, name in used if not is_there(name)] == []


def test_nothing_is_sent_to_the_builder_but_what_the_dockerfiles_copy():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    copied = {source for image in IMAGES for source, _ in read_dockerfile(image).copied()}
    assert rules[0] == "*"
    admitted = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    for source in copied:
        assert any(source == path or source.startswith(f"{path}/") for path in admitted), source
    for path in admitted:
        assert any(path == source or source.startswith(f"{path}/") for source in copied), path


@pytest.mark.parametrize("image", IMAGES)
def test_no_weights_and_no_data_but_the_sample_are_copied(image):
    allowed = "py sql html css yaml toml txt md sh conf"
    allowed = {f".{ending}" for ending in allowed.split()}
    files = {file for file in copied_files(image) if file.suffix not in allowed}
    sample = {ROOT / "components/data/sample_reviews.csv"} if image == "steps" else set()
    assert files == sample
