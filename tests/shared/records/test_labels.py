import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.machine.errors import UserError
from components.shared.records.labels import SENTIMENTS, LabelSet, labels_of_file

WORD = st.text("abcdefgh12345_-", min_size=1, max_size=6).filter(lambda word: word[0] != "-")


def test_by_default_stars_and_signs_become_three_sentiments() -> None:
    assert LabelSet.parse("") == LabelSet.parse("sentiments") == SENTIMENTS
    assert SENTIMENTS.of_rating == {1: -1, 2: -1, 3: 0, 4: 1, 5: 1}
    assert [SENTIMENTS.words[word] for word in ("-1", "0.0", "+1", "neutral")] == [-1, 0, 1, 0]
    assert SENTIMENTS.index_of(np.array([-1, 0, 1], np.int32)).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "words", "of_rating"),
    [
        ("negative=1,2 positive=4,5", {"negative": 0, "2": 0, "5": 1}, {1: 0, 2: 0, 4: 1, 5: 1}),
        ("1 2 3 4 5", {"1": 0, "5.0": 4}, {1: 0, 2: 1, 3: 2, 4: 3, 5: 4}),
        ("bad=0 good=1", {"0": 0, "good": 1}, {}),
        ("bad=Neg okay=neu fine=pos", {"neg": 0, "okay": 1, "pos": 2}, {}),
    ],
)
def test_classes_are_named_with_what_the_data_call_them(text, words, of_rating) -> None:
    labels = LabelSet.parse(text)
    assert words.items() <= labels.words.items()
    assert labels.of_rating == of_rating
    assert labels.values == tuple(range(len(labels)))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("positive=1", "names 1 class"),
        (" ".join(f"c{n}" for n in range(21)), "names 21 class"),
        ("a=1 b=1", "'1' to two classes"),
        ("a=b b=1", "'b' to two classes"),
        ("good A/B", "class name 'A/B'"),
        ("=1 b=2", "class name ''"),
    ],
)
def test_a_label_set_that_makes_no_sense_is_refused(text: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        LabelSet.parse(text)


@given(st.lists(WORD, min_size=2, max_size=8, unique_by=str.casefold), st.integers(0, 3))
def test_the_text_of_a_label_set_is_read_back(names: list[str], first: int) -> None:
    text = " ".join(f"{name}=v{n}" if n >= first else name for n, name in enumerate(names))
    try:
        labels = LabelSet.parse(text)
    except UserError:
        return
    assert LabelSet.parse(str(labels)) == labels


def test_a_file_carries_its_label_set(tmp_path) -> None:
    table = pa.table({"sentiment": [0, 1]})
    for name, labels in (("a", LabelSet.parse("bad=0 good=1")), ("b", SENTIMENTS)):
        pq.write_table(table.cast(labels.on(table.schema)), tmp_path / name)
        assert labels_of_file(tmp_path / name) == labels
    (tmp_path / "c").write_text("no Parquet")
    for name, why in (("c", "not a Parquet file"), ("d", "does not exist")):
        with pytest.raises(UserError, match=why):
            labels_of_file(tmp_path / name)
