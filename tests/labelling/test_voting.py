import importlib
import sys

import numpy as np
import pyarrow as pa
import pytest

from components.labelling import own, voting
from components.labelling.voting import (
    LabellingFunction,
    all_functions,
    counted,
    label_matrix,
    labelling_function,
    matches,
    votes,
)
from components.shared.machine.errors import UserError
from components.shared.records.labels import SENTIMENTS, LabelSet

TEXTS = ["Love it!! LOVE", None, "awful", "é 字"]
REVIEWS = pa.table({"text": TEXTS, "title": [None, "no", None, "x"]})


def function(vote, name="mine"):
    return LabellingFunction(name, "", f"own/{name}.py", vote)


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """A folder of one's own functions, which nobody remembers afterwards."""
    all_functions()  # those of the project register once in a process
    monkeypatch.setattr(own, "__path__", [str(tmp_path)])
    monkeypatch.setattr(voting, "_registered", dict(voting._registered))
    before = set(sys.modules)
    importlib.invalidate_caches()
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith(own.__name__):
            del sys.modules[name]


def test_conditions_are_of_whole_columns_and_missing_texts_match_nothing():
    assert matches(REVIEWS["text"], "love|é").to_pylist() == [True, False, False, True]
    assert counted(REVIEWS["text"], "love").to_pylist() == [2, 0, 0, 0]
    cast = votes(matches(REVIEWS["text"], "love"), "positive").to_pylist()
    assert cast == ["positive", None, None, None]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("sentiments", [0, 1, 2]),
        ("bad=1,2 good=4,5", [0, -1, 1]),
        ("one=1 two=2 three=3 four=4 five=5", [0, 2, 4]),
        ("positive=5 other=3 negative=1", [2, 1, 0]),
    ],
)
def test_names_mean_classes_of_any_label_set(labels, expected):
    cast = function(lambda _: pa.array(["negative", "neutral", "positive", None]))
    found = label_matrix(REVIEWS, [cast], LabelSet.parse(labels))
    assert found[:, 0].tolist() == [*expected, -1]


def test_a_function_may_vote_names_of_the_label_set_itself():
    labels = LabelSet.parse("shipping quality price")
    cast = function(lambda _: pa.chunked_array([["price"], ["quality", None, "shipping"]]))
    assert label_matrix(REVIEWS, [cast], labels)[:, 0].tolist() == [2, 1, -1, 0]


def raising(reviews):
    return reviews["no such column"]


@pytest.mark.parametrize(
    ("vote", "words"),
    [
        (raising, r"mine of own/mine\.py failed \(KeyError: .*no such column.*correct it, or take"),
        (lambda _: pa.array(["positive"]), "returned 1 votes for 4 reviews"),
        (
            lambda _: pa.array(["positiv"] * 4),
            "votes 'positiv', which is no class; the classes",
        ),
        (lambda _: None, "mine of own/mine.py failed"),
        (lambda _: ["positive"] * 4, "mine of own/mine.py failed"),
        (lambda _: votes(matches(REVIEWS["text"], "("), "positive"), "failed .*ArrowInvalid"),
    ],
)
def test_a_function_that_is_wrong_is_named_in_one_sentence(vote, words):
    with pytest.raises(UserError, match=words) as raised:
        label_matrix(REVIEWS, [function(vote)], SENTIMENTS)
    assert "\n" not in str(raised.value)


def test_every_file_of_the_folder_is_read(own_folder):
    content = (
        "from components.labelling.voting import labelling_function, matches, votes\n\n\n"
        "@labelling_function\ndef feathers(reviews):\n"
        '    """Soft as feathers.\n\n    More words."""\n'
        '    return votes(matches(reviews["text"], "feather"), "positive")\n'
    )
    (own_folder / "soft.py").write_text(content)
    (found,) = (one for one in all_functions() if one.name == "feathers")
    assert found.about == "Soft as feathers."
    assert found.file.endswith("soft.py")
    assert [one.name for one in all_functions()].count("feathers") == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("import nothing_of_this_name", r"own/broken\.py cannot be read \(ModuleNotFoundError"),
        ("def (", r"own/broken\.py cannot be read \(SyntaxError"),
        (
            "from components.labelling.voting import labelling_function\n"
            "@labelling_function\ndef compliments(reviews):\n    return None\n",
            "broken.py has a labelling function compliments, and so has .*functions.py",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_named(content, words, own_folder):
    all_functions()
    (own_folder / "broken.py").write_text(content)
    with pytest.raises(UserError, match=words):
        all_functions()


def test_the_decorator_leaves_a_function_callable(monkeypatch):
    monkeypatch.setattr(voting, "_registered", {})
    decorated = labelling_function(lambda reviews: reviews["title"])
    assert decorated(REVIEWS).to_pylist() == [None, "no", None, "x"]


def functions_on(*texts, title=None):
    """What each function of the project votes on some texts."""
    reviews = pa.table(
        {
            "text": list(texts),
            "title": pa.array([title] * len(texts), pa.string()),
            "agreed": ["neutral"] * len(texts),
        }
    )
    functions = [one for one in all_functions() if one.file.endswith("functions.py")]
    found = label_matrix(reviews, functions, SENTIMENTS)
    names = np.array([one.name for one in functions])
    return [dict(zip(names[row >= 0], row[row >= 0], strict=True)) for row in found]


def test_the_functions_of_the_project_vote_as_they_say():
    praise = "I love this dress, it is perfect and gorgeous, I got a compliment, so soft!!"
    blame = "Disappointed: it looks cheap, it is itchy, it ripped. I sent it back. " + "Long. " * 20
    faint = "It's okay. I wanted to love it. Great colour, however the fabric is stiff. " * 2
    good, bad, between, empty = functions_on(praise, blame, faint, "")
    positive = {"compliments", "exclamation", "delight", "short", "praise_outweighs"}
    assert {name for name, vote in good.items() if vote == 2} == positive
    assert {name for name, vote in bad.items() if vote == 0} == {
        *("complaint_outweighs", "disappointment", "sent_back")
    }
    neutral = {"faint_praise", "wanted_to_love", "however_between", "models_agree"}
    assert {name for name, vote in between.items() if vote == 1} == neutral
    assert empty == {"short": 2, "models_agree": 1}
    (titled,) = functions_on("nothing", title="Not for winter")
    assert titled["blaming_title"] == 0
