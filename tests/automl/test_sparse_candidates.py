"""The linear model and fastText: what they learn, what they write, and that it serves."""

import math
from dataclasses import replace

import numpy as np
import pytest

from components.automl.candidate import OutOfTimeError
from components.automl.candidates import all_candidates
from components.automl.sparse_folder import fit_probabilities
from components.automl.task import read_task
from components.serving.model.predictor import FeatureLookup, Predictor
from components.shared.machine.errors import UserError
from components.shared.records.decision import decide, log_softmax, probabilities
from components.shared.records.labels import LabelSet
from components.shared.records.model_folder import check_model_folder, read_calibration
from components.shared.records.model_logits import logits_of
from tests.automl.conftest import write_prepared
from tests.test_docs import blocks

SPARSE = ("linear", "fasttext")


@pytest.fixture(params=SPARSE)
def candidate(request):
    return all_candidates()[request.param]


def fitted(candidate, task, folder, **changed):
    candidate.fit(task, {**candidate.first, **changed}, 1, math.inf, folder)
    return check_model_folder(folder)


def test_what_it_learned_is_served(candidate, task, tmp_path):
    folder = fitted(candidate, task, tmp_path / "model")
    logits = logits_of(folder, task.validation.reviews)
    decided = decide(logits, read_calibration(folder))
    assert (decided == task.validation.classes).mean() > 0.9
    predictor = Predictor(folder)
    served = predictor.predict(task.validation.texts)
    assert served.classes.tolist() == decided.tolist()
    assert not any(served.truncated)
    assert predictor.engine.name == "sparse"
    assert set(served.labels) == {"negative", "neutral", "positive"}


def test_the_same_seed_gives_the_same_weights(candidate, task, tmp_path):
    one, other = (fitted(candidate, task, tmp_path / name) for name in "ab")
    for file in one.iterdir():
        assert file.read_bytes() == (other / file.name).read_bytes(), file.name


def test_two_classes_of_any_name(candidate, tmp_path):
    labels = LabelSet.parse("ham=0 spam=1")
    texts = [(f"{('cheap pills', 'dear friend')[n % 2]} word{n}", (n + 1) % 2) for n in range(320)]
    prepared = write_prepared(tmp_path / "prepared", labels, texts)
    task = read_task(prepared, "", "", {})
    folder = fitted(candidate, task, tmp_path / "model")
    answers = Predictor(folder).predict(["cheap pills", "dear friend"])
    assert answers.labels == ["spam", "ham"]


def test_a_class_that_training_never_showed_is_never_decided(candidate, tmp_path):
    texts = [("awful poor", -1) if n % 2 else ("great lovely", 1) for n in range(320)]
    task = read_task(write_prepared(tmp_path / "prepared", texts=texts), "", "", {})
    predictor = Predictor(fitted(candidate, task, tmp_path / "model"))
    answers = predictor.predict(["awful poor", "great lovely", "something else"])
    assert answers.labels[:2] == ["negative", "positive"]
    assert np.isfinite(answers.probabilities).all()
    assert answers.classes[2] != 1 or candidate.name == "fasttext"


def test_an_engine_or_a_feature_store_is_refused(candidate, task, tmp_path):
    folder = fitted(candidate, task, tmp_path / "model")
    with pytest.raises(UserError, match="sparse model and has no engine 'torch'; use auto"):
        Predictor(folder, "torch")
    with pytest.raises(UserError, match=r"sparse model reads texts.*without --features"):
        FeatureLookup("reviews_v1", Predictor(folder).max_tokens)


def test_texts_without_a_word_are_refused_by_their_column(tmp_path):
    texts = [("- ? -", n % 3 - 1) for n in range(320)]
    task = read_task(write_prepared(tmp_path / "prepared", texts=texts), "", "", {})
    with pytest.raises(UserError, match=r"hold no word to learn from.*another text column"):
        fitted(all_candidates()["linear"], task, tmp_path / "model")


def test_training_ends_where_its_time_does(task, tmp_path):
    fasttext = all_candidates()["fasttext"]
    with pytest.raises(OutOfTimeError):
        fasttext.fit(task, fasttext.first, 1, 0.0, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_one_class_alone_is_refused(tmp_path):
    texts = [("fine", 0)] * 320
    with pytest.raises(UserError, match=r"all training rows .* are neutral; give reviews of two"):
        read_task(write_prepared(tmp_path / "prepared", texts=texts), "", "", {})


def test_probabilities_meet_the_frequencies_and_decisions_stay():
    generator = np.random.default_rng(0)
    classes = generator.choice(3, 4000, p=[0.1, 0.1, 0.8])
    honest = np.log([0.1, 0.1, 0.8]) + 1.5 * generator.normal(size=(4000, 3))
    honest[np.arange(4000), classes] += 1.0
    weighted = 3 * (honest - np.log([0.1, 0.1, 0.8]))  # as class weights and a large scale leave it
    temperature, offsets = fit_probabilities(weighted.astype(np.float32), classes)
    calibrated = log_softmax(weighted / temperature + offsets)
    assert np.exp(calibrated).mean(axis=0) == pytest.approx([0.1, 0.1, 0.8], abs=0.02)
    assert (np.argmax(calibrated - offsets, axis=1) == weighted.argmax(axis=1)).all()


def test_a_folder_of_numbers_that_do_not_belong_together_is_refused(task, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = fitted(all_candidates()["linear"], task, tmp_path / "model")
    numbers = load_file(folder / "model.safetensors")
    for changed in ({"weights": numbers["weights"][:-1]}, {"idf": numbers["idf"][:-1]}):
        save_file({**numbers, **changed}, folder / "model.safetensors")
        with pytest.raises(UserError, match=r"cannot be loaded as a sparse model.*train again"):
            Predictor(folder)


def test_balanced_probabilities_follow_the_data(candidate, task, tmp_path):
    weighted = replace(task, kept={})
    folder = fitted(candidate, weighted, tmp_path / "model", class_weight="balanced")
    logits = logits_of(folder, task.validation.reviews)
    mean = probabilities(logits, read_calibration(folder)).mean(axis=0)
    shares = np.bincount(task.validation.classes, minlength=3) / len(task.validation)
    assert mean == pytest.approx(shares, abs=0.08)


def test_a_candidate_of_ones_own_is_the_one_file_of_its_page(task, tmp_path, monkeypatch):
    from components.automl import candidates

    (block,) = blocks("your-own.md", "A candidate")
    assert block.startswith("# components/automl/candidates/bayes.py")
    (tmp_path / "bayes.py").write_text(block, encoding="utf-8")
    monkeypatch.setattr(candidates, "__path__", [*candidates.__path__, str(tmp_path)])
    mine = all_candidates()["bayes"]
    assert mine.estimate(task) > 0
    folder = fitted(mine, task, tmp_path / "model")
    decided = decide(logits_of(folder, task.validation.reviews), read_calibration(folder))
    assert (decided == task.validation.classes).mean() > 0.8
