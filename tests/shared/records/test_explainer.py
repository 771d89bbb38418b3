import numpy as np
import pytest

from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json
from components.shared.records.explainer import Explainer
from components.shared.records.explanation import text_of
from tests.evaluation.conftest import write_model

TEXTS = {
    "plain": "I love the soft fabric, but the size is awful!",
    "one word": "awful",
    "other language": "Das Kleid ist zu eng 👗 很不好",
    "markup": "<b>soft</b> & <i>'tis",
    "no token at all": "\u200d",
}


@pytest.fixture(scope="module")
def folder(tiny_bert, tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("explained") / "model", tiny_bert)


@pytest.fixture(scope="module")
def explainer(folder):
    return Explainer(folder)


@pytest.mark.parametrize("kind", TEXTS)
def test_an_explanation_is_that_of_the_answer_that_is_served(explainer, folder, kind):
    from components.serving.model.predictor import Predictor

    found = explainer.explain(TEXTS[kind])
    served = Predictor(folder, "torch").predict([TEXTS[kind]])
    assert (found.label, found.label_id) == (served.labels[0], served.classes[0])
    assert list(found.probabilities.values()) == pytest.approx(served.probabilities[0])
    assert text_of(found.words) == TEXTS[kind]
    added = sum(word.attribution for word in found.words)
    assert added == pytest.approx(found.difference, abs=0.05 * max(0.1, abs(found.difference)))
    assert found.completeness_error <= 0.05


def test_decision_offsets_choose_the_answer_that_is_explained(folder, explainer, tmp_path):
    import shutil

    shutil.copytree(folder, moved := tmp_path / "model")
    calibration = {"temperature": 1.3, "decision_offsets": [0.0, 50.0, 0.0]}
    write_json(moved / "calibration.json", calibration)
    text = TEXTS["plain"]
    assert Explainer(moved).explain(text).label == "neutral" != explainer.explain(text).label
    assert explainer.explain(text, 1).words == Explainer(moved).explain(text).words


def test_the_end_of_a_long_review_is_not_explained(explainer):
    found = explainer.explain(" ".join(["soft"] * 100))
    assert len(found.words) == 30
    assert found.unread == " ".join(["soft"] * 70)
    assert found.to_dict()["truncated"] is True


@pytest.mark.parametrize("text", ["", "  "])
def test_there_is_nothing_to_explain_about_a_blank_review(explainer, text):
    with pytest.raises(UserError, match="the review is blank"):
        explainer.explain(text)


def test_answers_are_those_of_the_explanations(explainer):
    texts = [text for text in TEXTS.values() if text.strip()]
    decided, chances = explainer.answers(texts)
    explained = [explainer.explain(text) for text in texts]
    assert decided.tolist() == [one.label_id for one in explained]
    alone = [list(one.probabilities.values()) for one in explained]
    np.testing.assert_allclose(chances, alone, atol=1e-5)
