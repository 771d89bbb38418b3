import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.headers import Columns
from components.data.ingest import ingest
from components.data.problem import find_problem
from components.shared.machine.errors import UserError
from components.shared.records.labels import LabelSet

TEXT = "the parcel number {} came late and broken"


@pytest.fixture
def found(tmp_path):
    """What is found in a table of these columns, and what ingest makes of it."""

    def find(columns="", labels="", rows=60, **table):
        source = tmp_path / "table.csv"
        with source.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(table)
            writer.writerows([column(row) for column in table.values()] for row in range(rows))
        problem = find_problem(
            str(source), tmp_path / "problem.json", columns=columns, labels=labels
        )
        assert json.loads((tmp_path / "problem.json").read_text())["labels"] == problem.labels
        parsed = LabelSet.parse(problem.labels)
        outputs = (tmp_path / name for name in ("reviews", "quarantine", "summary"))
        done = ingest(str(source), *outputs, labels=parsed, columns=problem.columns)
        assert done.rows_kept + done.duplicates == rows
        return problem

    return find


def test_text_and_label_are_found_by_what_they_hold(found):
    problem = found(
        id=lambda n: n,
        subject=lambda n: f"order {n}",
        message=TEXT.format,
        verdict=lambda n: ("ham", "spam", "eggs")[n % 3],
    )
    assert problem.columns == "review_body=message sentiment=verdict"
    assert problem.labels == "eggs ham spam"
    assert problem.classes == {"eggs": 20, "ham": 20, "spam": 20}
    assert problem.texts == ("message",)


def test_numbers_become_classes_in_their_order(found):
    problem = found(message=TEXT.format, label=lambda n: n % 2 - 1)
    assert problem.labels == "class_minus1=-1 class_0=0"
    problem = found(message=TEXT.format, grade=lambda n: f"{n % 11}.0")
    assert problem.labels.split()[-1] == "class_10=10"


def test_what_a_header_says_is_taken_first(found):
    problem = found(
        **{
            "Review Text": TEXT.format,
            "Rating": lambda n: n % 5 + 1,
            "colour": lambda n: "ab"[n % 2],
        }
    )
    assert (problem.columns, problem.labels) == ("", "sentiments")
    assert problem.classes == {"negative": 24, "neutral": 12, "positive": 24}


def test_what_the_user_names_is_taken_as_it_is(found):
    table = {"a note": TEXT.format, "colour": lambda n: "ab"[n % 2], "size": lambda n: "sm"[n % 2]}
    problem = found(columns="sentiment=size", **table)
    assert problem.columns == "sentiment=size review_body=a_note"
    assert problem.labels == "m s"
    problem = found(labels="little=s much=m", columns="sentiment=size", **table)
    assert problem.classes == {"little": 30, "much": 30}


def test_a_rating_that_is_not_the_label_is_left_out(found):
    problem = found(message=TEXT.format, rating=lambda n: n % 9, label=lambda n: "ab"[n % 2])
    assert problem.columns == "review_body=message sentiment=label rating="
    problem = found(
        columns="sentiment=label",
        **{"message": TEXT.format, "rating": lambda n: 7 * n, "label": lambda n: "ab"[n % 2]},
    )
    assert problem.columns == "sentiment=label review_body=message rating="


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (
            {"text": TEXT.format, "score": lambda n: n / 7},
            "'score' .*different numbers",
        ),
        (
            {"text": TEXT.format, "price": lambda n: n / 7},
            "'price' .*different numbers",
        ),
        ({"text": TEXT.format, "label": lambda n: f"c{n}"}, "'label' .* 60 classes, and 2 to 20"),
        ({"text": TEXT.format, "label": lambda n: "only"}, "'label' .* 1 classes"),
        ({"text": TEXT.format, "id": lambda n: f"x{n}"}, "has no label column.*add one"),
        ({"name": lambda n: f"n{n}", "label": lambda n: "ab"[n % 2]}, "no text column.*COLUMNS="),
        (
            {"text": TEXT.format, "a": lambda n: "ab"[n % 2], "b": lambda n: "cd"[n % 2]},
            "several columns that may be the label, 'a', 'b'; say which",
        ),
        (
            {"text": TEXT.format, "label": lambda n: ("so so", "well")[n % 2]},
            "holds the class 'so so', which LABELS cannot name; write it without white space",
        ),
    ],
)
def test_what_cannot_be_learned_is_refused_in_one_sentence(found, table, why):
    with pytest.raises(UserError, match=why) as refused:
        found(**table)
    assert "\n" not in str(refused.value)


def test_grades_that_are_no_stars_are_classes(found):
    problem = found(message=TEXT.format, rating=lambda n: n % 9)
    assert problem.columns == "review_body=message sentiment=rating rating="
    assert len(problem.classes) == 9


@pytest.mark.parametrize("rows", [0, 1])
def test_one_row_or_none_is_refused(found, rows):
    with pytest.raises(UserError, match=r"holds no rows|holds 1 classes|no text column"):
        found(rows=rows, text=TEXT.format, label=lambda n: "ab"[n % 2])


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z][A-Za-z ]{0,8}[a-z]", fullmatch=True),
        st.lists(st.text(max_size=12), min_size=12, max_size=12),
        min_size=1,
        max_size=4,
    )
)
def test_any_table_is_understood_or_refused(tmp_path_factory, table):
    folder = tmp_path_factory.mktemp("any")
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    source = folder / "table.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    try:
        problem = find_problem(str(source), folder / "problem.json")
    except UserError:
        return
    labels = LabelSet.parse(problem.labels)
    assert Columns.parse(problem.columns, labels)
    assert problem.label_column in table
