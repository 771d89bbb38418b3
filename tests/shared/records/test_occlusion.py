"""What each word adds to a sparse model's answer."""

import math

import numpy as np
import pytest

from components.automl.candidates import all_candidates
from components.automl.task import read_task
from components.serving.model.predictor import Predictor
from components.shared.machine.errors import UserError
from components.shared.records.occlusion import OcclusionExplainer
from tests.automl.conftest import write_prepared


@pytest.fixture(scope="module", params=["linear", "fasttext"])
def folder(request, tmp_path_factory):
    made = tmp_path_factory.mktemp("occlusion")
    task = read_task(write_prepared(made / "prepared"), "", "", {})
    candidate = all_candidates()[request.param]
    candidate.fit(task, candidate.first, 1, math.inf, made / "model")
    return made / "model"


def test_the_words_that_decide_add_most(folder):
    text = "the dress is awful and itchy , very"
    explained = OcclusionExplainer(folder).explain(text)
    assert explained.label == "negative"
    assert [word.text for word in explained.words] == text.split()
    strongest = sorted(explained.words, key=lambda word: -word.attribution)[:2]
    assert {word.text for word in strongest} == {"awful", "itchy"}
    assert math.isfinite(explained.completeness_error)


def test_it_gives_the_answers_of_the_server(folder):
    texts = ["great lovely top", "okay average"]
    classes, chances = OcclusionExplainer(folder).answers(texts)
    served = Predictor(folder).predict(texts)
    assert classes.tolist() == served.classes.tolist()
    assert np.abs(chances - served.probabilities).max() < 1e-6


def test_another_engines_decision_is_explained_and_a_blank_text_refused(folder):
    explainer = OcclusionExplainer(folder)
    one, other = (explainer.explain("awful dress", label_id=label) for label in (0, 2))
    assert (one.label, other.label) == ("negative", "positive")
    assert one.words[0].attribution > 0 > other.words[0].attribution
    with pytest.raises(UserError, match="the review is blank"):
        explainer.explain("  ")
