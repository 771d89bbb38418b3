"""Whoever reads a registered version notices when one of its files is not what was registered."""

import shutil

import pytest

from components.evaluation.champion import find_champion
from components.registry import versions as registry
from components.shared.machine.errors import UserError
from components.shared.machine.tracking import tracking_client
from components.shared.records.file_list import FILE_LIST, folder_digest
from components.shared.records.model_folder import (
    FILES_OF_KIND,
    MODEL_CARD,
    TRANSFORMER,
    check_model_folder,
)
from components.shared.records.portable_model import TRAVELS_WITH
from tests.registry.conftest import NAME

EXPORTED = ("engines.json", "openvino/model.xml", "openvino/model.bin")
FOR_MLFLOW = ("MLmodel", "conda.yaml", "input_example.json", "python_env.yaml", "requirements.txt")
CODE = tuple(f"code/review_sentiment_model/{name}.py" for name in ("__init__", *TRAVELS_WITH))
FILES = (
    *(*FILES_OF_KIND[TRANSFORMER], MODEL_CARD, *EXPORTED, *FOR_MLFLOW, *CODE, FILE_LIST),
    *("serving_input_example.json", "components/tokenizer/tokenizer.json"),
)


@pytest.fixture
def stored(mlflow_file, model_folder, register_version):
    """Where the registry keeps the files of version 1."""
    (model_folder / "openvino").mkdir()
    for name in EXPORTED:
        (model_folder / name).write_text("{}")
    register_version()
    return next((mlflow_file.parent / "artifacts").rglob("model.safetensors")).parent


def fetch(tmp_path):
    return registry.fetch_version(NAME, "1", tmp_path / "back", tmp_path / "back.parquet")


def actual(stored, name):
    """A file's path among those of the version; the code's package is named by its content."""
    package = next((stored / "code").iterdir()).name
    return name.replace("review_sentiment_model", package)


def test_the_files_above_are_all_that_a_version_has(stored):
    found = [path.relative_to(stored).as_posix() for path in stored.rglob("*") if path.is_file()]
    assert sorted(found) == sorted(actual(stored, name) for name in FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_refused_by_whoever_reads_the_version(stored, tmp_path, name):
    fetch(tmp_path)
    name = actual(stored, name)
    digest, copy = registry.show_version(NAME, "1").tags["folder_digest"], tmp_path / "copy"
    assert digest == folder_digest(tmp_path / "back")
    content = bytearray((stored / name).read_bytes())
    content[len(content) // 2] ^= 1
    (stored / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"version 1 of {NAME} .*: {name} was changed; register"):
        fetch(tmp_path)
    assert folder_digest(tmp_path / "back") == digest
    shutil.copytree(stored, copy)
    with pytest.raises(UserError, match=rf"{copy} .*: {name} was changed; fetch"):
        check_model_folder(copy, digest)  # the server, the deployment check and a rollout
    if name != FILE_LIST:
        with pytest.raises(UserError, match=rf"{copy} .*: {name} was changed; fetch"):
            find_champion(copy, tmp_path / "back")


def test_an_added_file_and_a_missing_one_are_refused(stored, tmp_path):
    (stored / "code.py").touch()
    with pytest.raises(UserError, match=r"code\.py was added; register the model again"):
        fetch(tmp_path)
    (stored / "code.py").unlink()
    (stored / "engines.json").unlink()
    with pytest.raises(UserError, match=r"engines\.json is missing; register the model again"):
        fetch(tmp_path)


def test_a_version_of_an_earlier_release_is_checked_by_its_weights(stored, tmp_path):
    client = tracking_client()
    (stored / FILE_LIST).unlink()
    client.delete_model_version_tag(NAME, "1", "folder_digest")
    (stored / "engines.json").unlink()
    assert fetch(tmp_path) == "1"
    (stored / "model.safetensors").write_bytes(b"tampered")
    with pytest.raises(UserError, match=r"version 1 of .* is not what was registered"):
        fetch(tmp_path)
    client.delete_model_version_tag(NAME, "1", "model_digest")
    with pytest.raises(UserError, match="has no digest in the registry"):
        fetch(tmp_path)


def test_a_version_that_is_registered_again_gets_a_list_of_its_own(stored, register_version):
    shutil.copytree(stored, stored.parent / "again")
    assert register_version(stored.parent / "again", pipeline_run="run-2").version == "2"
