import json
import os

import pytest

from components.shared.kubernetes.shared_folder import KEPT_DAYS, SharedFolder
from components.shared.machine.errors import UserError
from components.shared.records.model_folder import FILES_OF_KIND, TRANSFORMER
from components.training.options import TrainingOptions

OPTIONS = TrainingOptions().to_dict()
FACTS = {"data_fingerprint": "f", "max_tokens": 80}
DAY = 86400.0


def write_model(folder, base_model="minilm", options=OPTIONS, facts=FACTS, **more):
    """A model folder as training writes it, without weights worth the name."""
    folder.mkdir(parents=True)
    for name in FILES_OF_KIND[TRANSFORMER]:
        (folder / name).write_text("{}", encoding="utf-8")
    config = {"id2label": {"0": "negative", "1": "neutral", "2": "positive"}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    sound = {"temperature": 1, "decision_offsets": [0, 0, 0]}
    (folder / "calibration.json").write_text(json.dumps(sound), encoding="utf-8")
    made = {"base_model": base_model, "options": options, "facts": facts, "max_tokens": 80, **more}
    (folder / "training.json").write_text(json.dumps(made), encoding="utf-8")


@pytest.fixture
def volume(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.fixture
def folder(volume):
    return SharedFolder.of("review-sentiment-train-0123abcd")


@pytest.fixture
def training_set(tmp_path):
    path = tmp_path / "set.parquet"
    path.write_bytes(b"rows")
    return path


def test_step_and_pods_name_the_same_place(folder, volume):
    assert folder.path == volume / "launched" / "review-sentiment-train-0123abcd"
    assert folder.in_pods == "/state/launched/review-sentiment-train-0123abcd"
    assert list(folder.path.iterdir()) == []


def test_a_volume_that_cannot_be_used_is_reported(volume, monkeypatch):
    # Root, as whom tests may run, may write anywhere: a file in the place of the folder.
    (volume / "launched").touch()
    with pytest.raises(UserError, match=r"volume at .* cannot be written to \(Not a dir"):
        SharedFolder.of("n")
    monkeypatch.delenv("STATE_DIR")
    with pytest.raises(UserError, match=r"STATE_DIR is not set.* claim review-sentiment-state"):
        SharedFolder.of("n")


def test_a_training_set_is_copied_once_and_other_data_drop_the_model(folder, training_set):
    folder.put(training_set, FACTS)
    kept = folder.path / "training_set.parquet"
    written = kept.stat().st_ino
    write_model(folder.model)
    folder.put(training_set, FACTS)
    assert kept.stat().st_ino == written
    assert folder.holds_model()
    training_set.write_bytes(b"other rows")
    folder.put(training_set, FACTS)
    assert kept.read_bytes() == b"other rows"
    assert not folder.holds_model()


def test_a_model_is_known_by_what_made_it(folder):
    made = ("minilm", OPTIONS, FACTS)
    assert not folder.holds_model_of(*made)
    write_model(folder.model)
    assert folder.holds_model_of(*made)
    others = ("roberta-base", {**OPTIONS, "epochs": 1}, {**FACTS, "data_fingerprint": "g"})
    for place, other in enumerate(others):
        assert not folder.holds_model_of(*made[:place], other, *made[place + 1 :])


@pytest.mark.parametrize("missing", ["", "model.safetensors", "training.json"])
def test_a_whole_model_is_copied_and_half_of_one_is_not(folder, tmp_path, missing):
    write_model(folder.model)
    if missing:
        (folder.model / missing).unlink()
        with pytest.raises(UserError, match=f"not a whole model folder: {missing} missing"):
            folder.take_model(tmp_path / "model")
        assert not (tmp_path / "model").exists()
    else:
        folder.take_model(tmp_path / "model")
        assert {path.name for path in (tmp_path / "model").iterdir()} == set(
            FILES_OF_KIND[TRANSFORMER]
        )


def test_what_nobody_retries_goes_after_a_while(volume, folder):
    forgotten = SharedFolder.of("review-sentiment-train-forgotten").path
    (forgotten / "checkpoints").mkdir()
    active = SharedFolder.of("review-sentiment-train-active").path
    other = SharedFolder.of("review-sentiment-search-1").path
    now = forgotten.stat().st_mtime + (KEPT_DAYS + 1) * DAY
    (active / "checkpoints").mkdir()
    os.utime(active / "checkpoints", (now - DAY, now - DAY))
    assert folder.remove_forgotten("review-sentiment-train-", now) == [forgotten.name]
    assert sorted(volume.joinpath("launched").iterdir()) == sorted([folder.path, active, other])
    assert folder.remove_forgotten("review-sentiment-train-") == []
