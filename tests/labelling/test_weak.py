import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kfp.dsl import HTML, Dataset, Metrics

from components.data.prepare import PrepareOptions, prepare
from components.labelling import weak as module
from components.labelling.component import label_weakly as step
from components.labelling.voting import LabellingFunction, votes
from components.labelling.weak import WeakOptions, label_weakly
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json
from components.shared.records.labels import SENTIMENTS, LabelSet
from components.shared.records.reviews import LABELLED_SCHEMA, REVIEW_SCHEMA
from components.shared.records.splits import text_identity
from tests.labelling.conftest import made_up

UNRATED = {"rating": None, "sentiment": None}
ENGLISH = {
    -1: ("disappointed", "awful", "cheap", "itchy"),
    0: ("average", "okay", "meh", "however"),
    1: ("love it", "perfect", "compliments", "gorgeous!!"),
}


def hidden(rows, share=0.8, seed=0):
    """The rows, most of them without their rating."""
    random = np.random.default_rng(seed)
    return [row | UNRATED if random.random() < share else row for row in rows]


@pytest.fixture
def label(write, tmp_path):
    def labelled(rows, labels=SENTIMENTS, wanted=True, **options):
        source = write(rows, schema=REVIEW_SCHEMA, labels=labels, name="reviews")
        out = tmp_path / "labelled", tmp_path / "weak.json"
        summary = label_weakly(source, *out, WeakOptions(**options), wanted=wanted)
        assert read_json(out[1])["weak"] == summary.weak
        table = pq.ParquetFile(out[0]).read()
        if summary.weak:
            assert table.schema.equals(labels.on(LABELLED_SCHEMA), check_metadata=True)
        else:
            assert out[0].read_bytes() == source.read_bytes()
        return summary, table.to_pylist()

    return labelled


@pytest.fixture(scope="module")
def true_rows():
    return made_up(1_200, telling=ENGLISH)


def test_reviews_without_a_rating_get_labels_that_are_mostly_right(label, true_rows):
    summary, out = label(hidden(true_rows))
    truth = {row["review_id"]: row["sentiment"] for row in true_rows}
    weak = [row for row in out if row["label_source"] == "weak"]
    assert len(weak) == summary.weak > 0.3 * summary.unrated
    right = np.mean([row["sentiment"] == truth[row["review_id"]] for row in weak])
    assert right > 0.85
    assert np.mean([row["label_probability"] for row in weak]) == pytest.approx(right, abs=0.1)
    assert {row["rating"] for row in weak} == {None}
    for row, before in zip(out, hidden(true_rows), strict=True):
        if row["label_source"] != "weak":
            assert {name: row[name] for name in before} == before
            known = before["sentiment"] is not None
            assert row["label_source"] == ("rating" if known else None)
            assert row["label_probability"] == (1.0 if known else None)


def test_each_class_keeps_its_share_of_the_ratings(label, true_rows):
    summary, _ = label(hidden(true_rows))
    ratings, weak = (
        np.array([one[name] for one in summary.classes]) for name in ("ratings", "weak")
    )
    assert weak / weak.sum() == pytest.approx(ratings / ratings.sum(), abs=0.02)
    assert summary.ratings == ratings.sum()


def test_both_methods_are_told_and_the_better_one_labels(label, true_rows):
    summary, _ = label(hidden(true_rows))
    scores = {method["name"]: method["macro_f1"] for method in summary.methods}
    assert set(scores) == {"majority vote", "label model"}
    assert summary.chosen == max(scores, key=scores.get)
    by_name = {one["name"]: one for one in summary.functions}
    assert by_name["compliments"]["accuracy"] > by_name["compliments"]["by_guessing"]
    assert [one["name"] for one in summary.experiment] == ["ratings alone", "with weak labels"]
    assert "without a rating got a weak label; training with them" in summary.verdict


def splits_of(rows, tmp_path, write):
    source = write(rows, schema=REVIEW_SCHEMA, name="all")
    prepare(source, tmp_path / "prepared", tmp_path / "summary", PrepareOptions())
    return {
        row["review_id"]: row["split"]
        for row in pq.ParquetFile(tmp_path / "prepared").read().to_pylist()
    }


def test_nothing_of_the_test_split_changes_a_label(label, true_rows, write, tmp_path):
    rows = hidden(true_rows)
    before = label(rows)
    splits = splits_of(rows, tmp_path, write)
    other = [
        row | {"title": "awful awful"} if splits.get(row["review_id"]) == "test" else row
        for row in rows
    ]
    summary, out = label(other)
    assert summary == before[0]
    told = [(row["sentiment"], row["label_probability"]) for row in out]
    assert told == [(row["sentiment"], row["label_probability"]) for row in before[1]]


def test_labels_of_validation_have_no_say_in_weak_labels(label, true_rows, write, tmp_path):
    rows = hidden(true_rows)
    splits = splits_of(rows, tmp_path, write)
    held_out = {name for name, split in splits.items() if split == "validation"}
    other = [
        row | {"title": "love it perfect!!"} if row["review_id"] in held_out else row
        for row in rows
    ]

    def weak(found):
        return [row for row in found[1] if row["label_source"] == "weak"]

    assert weak(label(rows)) == weak(label(other))


def test_the_text_of_a_held_out_review_is_not_labelled(label, true_rows, write, tmp_path):
    rows = hidden(true_rows)
    splits = splits_of(rows, tmp_path, write)
    held_out = [row for row in rows if splits.get(row["review_id"]) in ("validation", "test")]
    twins = [
        row | UNRATED | {"review_id": f"twin-{i}", "review_body": row["review_body"].upper()}
        for i, row in enumerate(held_out)
    ]
    _, out = label(rows + twins)
    weak = {text_identity(row["review_body"]) for row in out if row["label_source"] == "weak"}
    assert not weak & {text_identity(row["review_body"]) for row in held_out}


def test_prepare_takes_weak_labels_into_train_alone(label, true_rows, tmp_path, write):
    rows = hidden(true_rows)
    before = splits_of(rows, tmp_path, write)
    summary, _ = label(rows)
    done = prepare(tmp_path / "labelled", tmp_path / "p", tmp_path / "s", PrepareOptions())
    out = pq.ParquetFile(tmp_path / "p").read().to_pylist()
    assert done.weak == summary.weak
    assert {row["split"] for row in out if row["label_source"] == "weak"} == {"train"}
    assert {r["review_id"]: r["split"] for r in out if r["label_source"] != "weak"} == before


def test_other_label_sets_are_labelled_by_name(label, true_rows):
    labels = LabelSet.parse("bad=1,2 good=4,5")
    rows = [row | {"sentiment": int(row["sentiment"] > 0)} for row in true_rows if row["sentiment"]]
    summary, out = label(hidden(rows), labels=labels)
    assert [one["name"] for one in summary.classes] == ["bad", "good"]
    weak = {row["sentiment"] for row in out if row["label_source"] == "weak"}
    assert weak == {0, 1}
    unused = {one["name"] for one in summary.functions if not one["used"]}
    assert "faint_praise" in unused  # there is no class in the middle


def test_functions_no_better_than_guessing_are_not_used(label, true_rows, monkeypatch):
    def chance(reviews):
        number = pa.array(np.random.default_rng(0).random(reviews.num_rows))
        return votes(pa.compute.less(number, 0.5), "negative")

    wrong = LabellingFunction("wrong", "", "own.py", chance)
    right = module.all_functions()
    monkeypatch.setattr(module, "all_functions", lambda: [*right, wrong])
    summary, _ = label(hidden(true_rows))
    by_name = {one["name"]: one for one in summary.functions}
    assert by_name["wrong"]["accuracy"] == pytest.approx(by_name["wrong"]["by_guessing"], abs=0.12)
    monkeypatch.setattr(
        module, "all_functions", lambda: [LabellingFunction("no", "", "", lambda r: r["title"])]
    )
    assert "no labelling function is right more often" in label(hidden(true_rows))[0].reason


def german(rows):
    words = {"love": "liebe", "perfect": "perfekt", "dress": "Kleid", "awful": "schrecklich"}
    return [
        row
        | {"review_body": " ".join(words.get(w, w[::-1] + "ä") for w in row["review_body"].split())}
        for row in rows
    ]


def test_in_another_language_the_models_vote_alone(label, true_rows):
    summary, out = label(hidden(german(true_rows), 0.5))
    by_name = {one["name"]: one for one in summary.functions}
    assert by_name["disappointment"]["coverage"] == 0
    assert by_name["models_agree"]["coverage"] > 0.3
    truth = {row["review_id"]: row["sentiment"] for row in true_rows}
    weak = [row for row in out if row["label_source"] == "weak"]
    assert np.mean([row["sentiment"] == truth[row["review_id"]] for row in weak]) > 0.8


def test_a_raising_function_ends_the_step_and_leaves_no_file(
    label, true_rows, monkeypatch, tmp_path
):
    def broken(reviews):
        raise KeyError("colour")

    faulty = LabellingFunction("broken", "", "own/mine.py", broken)
    monkeypatch.setattr(module, "all_functions", lambda: [faulty])
    with pytest.raises(UserError, match=r"broken of own/mine\.py failed \(KeyError: 'colour'\)"):
        label(hidden(true_rows))
    assert not (tmp_path / "labelled").exists()


@pytest.mark.parametrize(
    ("few", "words"),
    [
        (lambda rows: [row | UNRATED for row in rows], "none of the 1200 reviews has a rating"),
        (lambda rows: [rows[0]] + [r | UNRATED for r in rows[1:]], "at least 10 of each class"),
        (
            lambda rows: [r if r["sentiment"] else r | UNRATED for r in rows],
            "0 neutral.*at least 10 of each class",
        ),
    ],
)
def test_too_few_ratings_are_told_in_words(few, words, label, true_rows):
    with pytest.raises(UserError, match=words):
        label(few(true_rows))


def test_certainty_that_nobody_reaches_labels_nothing(label, true_rows):
    rows = [
        row | {"sentiment": int(np.random.default_rng(i).integers(-1, 2)), "rating": None}
        for i, row in enumerate(true_rows)
    ]
    summary, out = label(hidden(rows), certainty=1.0)
    assert summary.weak == 0
    assert "with a probability of 1 or more" in summary.reason or "guessing" in summary.reason
    assert [row["sentiment"] for row in out] == [row["sentiment"] for row in hidden(rows)]


@pytest.mark.parametrize("wanted", [True, False])
def test_where_nothing_is_to_do_rows_are_handed_on(wanted, label, true_rows):
    rows = true_rows if wanted else hidden(true_rows)
    summary, out = label(rows, wanted=wanted)
    assert summary.weak == 0
    assert summary.verdict.startswith("No review was labelled: ")
    assert [{name: row[name] for name in rows[0]} for row in out] == rows


def test_the_step_hands_over_rows_summary_page_and_metrics(write, tmp_path, true_rows):
    source = write(hidden(true_rows), schema=REVIEW_SCHEMA, name="reviews")
    names = ("labelled", "weak_labels_summary", "weak_labels_page", "metrics")
    kinds = {"labelled": Dataset, "weak_labels_page": HTML}
    made = {name: kinds.get(name, Metrics)(uri=str(tmp_path / name)) for name in names}
    step.python_func(reviews=Dataset(uri=str(source)), weak_labels=True, **made)
    summary = json.loads((tmp_path / "weak_labels_summary").read_text())
    assert made["metrics"].metadata["weak"] == summary["weak"] > 0
    assert made["labelled"].metadata["verdict"] == summary["verdict"]
    assert "from votes to labels" in (tmp_path / "weak_labels_page").read_text().lower()
