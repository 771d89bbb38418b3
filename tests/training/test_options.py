import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.machine.errors import UserError
from components.training.options import TrainingOptions


def test_text_and_numbers_give_the_same_options():
    values = {"learning_rate": 3e-5, "epochs": 2.0, "freeze_embeddings": False}
    texts = {"learning_rate": "3e-5", "epochs": "2", "freeze_embeddings": "false"}
    options = TrainingOptions.from_dict(texts)
    assert options == TrainingOptions.from_dict(values)
    assert (options.learning_rate, options.epochs) == (3e-5, 2)
    assert isinstance(options.epochs, int)
    assert options.freeze_embeddings is False


def test_to_dict_is_json_and_comes_back():
    options = TrainingOptions(batch_size=7, class_weights="sqrt")
    assert TrainingOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rat": 1}, "no training option learning_rat"),
        ({"epochs": "two"}, "epochs must be a whole number"),
        ({"epochs": 1.5}, "epochs must be a whole number"),
        ({"epochs": True}, "epochs must be a whole number"),
        ({"epochs": "inf"}, "epochs must be a whole number"),
        ({"epochs": 0}, "epochs must lie from 1"),
        ({"learning_rate": "nan"}, "learning_rate must lie"),
        ({"learning_rate": -1}, "learning_rate must lie"),
        ({"learning_rate": None}, "learning_rate must be a number"),
        ({"class_weights": "heavy"}, "class_weights must be one of none, sqrt, balanced"),
        ({"freeze_embeddings": "perhaps"}, "freeze_embeddings must be true or false"),
        ({"precision": "int8"}, "precision must be one of"),
    ],
)
def test_wrong_options_are_refused_in_words(values, message):
    with pytest.raises(UserError, match=message):
        TrainingOptions.from_dict(values)


def test_a_former_name_is_refused_with_the_present_one_and_still_names_checkpoints():
    with pytest.raises(UserError, match="patience is now named early_stopping_patience"):
        TrainingOptions.from_dict({"patience": 3})
    former = TrainingOptions(early_stopping_patience=3).under_former_names()
    assert former["patience"] == 3
    names = former.keys() ^ TrainingOptions().to_dict().keys()
    assert names == {"patience", "early_stopping_patience"}


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=12), min_size=1, max_size=3))
def test_names_that_do_not_exist_are_refused(values):
    with pytest.raises(UserError, match=r"no training option|is now named"):
        TrainingOptions.from_dict(values)


@given(st.sampled_from(sorted(TrainingOptions().to_dict())), st.text(max_size=12))
def test_any_text_is_taken_or_refused_in_words(name, text):
    with contextlib.suppress(UserError):
        TrainingOptions.from_dict({name: text})
