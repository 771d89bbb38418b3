"""Whole measurements from files: what is found, and what bad input comes to."""

import json
from pathlib import Path

import numpy as np
import pytest

from components.evaluation.bias import facets
from components.evaluation.bias.facets import MOST_GROUPS, Facet, FacetRows, parse_facets
from components.evaluation.bias.measure import measure
from components.evaluation.bias.measure import measured as measured_entries
from components.shared.machine.errors import UserError
from components.shared.records.labels import LabelSet
from tests.evaluation.bias.conftest import kinds_from_counts
from tests.evaluation.bias.test_metrics import COUNTS
from tests.test_docs import blocks

ROOT = Path(__file__).parents[3]


def reviews(groups=("A", "B", "C"), each=200, seed=0, **fixed):
    """Reviews of groups that do not differ, but for A, which has fewer positive ones."""
    generator = np.random.default_rng(seed)
    rows = []
    for group in groups:
        shares = [0.5, 0.2, 0.3] if group == "A" else [0.1, 0.2, 0.7]
        for number in range(each):
            sentiment = int(generator.choice(3, p=shares)) - 1
            guess = sentiment if generator.random() < 0.8 else int(generator.integers(-1, 2))
            rows.append(
                {"product_category": group, "sentiment": sentiment, "predicted": guess}
                | {"age": int(generator.integers(18, 80))}
                | {"split": "test" if number % 2 else "train"}
                | fixed
            )
    return rows


@pytest.fixture
def measured(write_reviews, tmp_path):
    def call(rows, facets="product_category age", gate="", **kwargs):
        prepared, predictions = write_reviews(rows, **kwargs)
        content = measure(prepared, predictions, tmp_path / "summary.json", facets, gate)
        written = (tmp_path / "summary.json").read_text()
        assert json.loads(written, parse_constant=pytest.fail) == content
        return content

    return call


def chosen(content, **wanted):
    return [e for e in content["measures"] if wanted.items() <= e.items()]


def test_the_group_that_differs_is_found_in_all_three_columns_and_no_other_facet(measured):
    content = measured(reviews(), gate="DPPL:positive:product_category<=0.05")
    for stage, metric in (("data", "DPL"), ("balanced", "DPL"), ("predictions", "DPPL")):
        found = {
            e["group"]: e
            for e in chosen(content, stage=stage, metric=metric, **{"class": "positive"})
            if e["facet"] == "product_category"
        }
        assert found["A"]["standing"] == "differs"
        assert 0.05 < found["A"]["low"] < found["A"]["value"] < found["A"]["high"]
    assert not [e for e in chosen(content, facet="age") if e["standing"] == "differs"]
    assert content["gate"]["within"] is False
    assert "A" in content["gate"]["broken_by"]
    first = next(s for s in content["findings"] if "share of positive" in s)
    assert first.startswith("Product category, share of positive: in the data less in A")
    assert content["headline"].startswith("In the data 3 of 9 groups differ for sure")


def test_balancing_is_seen_by_the_copies(measured):
    rows = reviews(groups=("A", "B"))
    for row in rows:
        if row["split"] == "train":
            row["copies"] = 3 if (row["product_category"], row["sentiment"]) == ("A", 1) else 1
    content = measured(rows, "product_category")
    sizes = {group["name"]: group["rows"] for group in content["facets"][0]["groups"]}
    assert sizes["A"]["balanced"] > sizes["A"]["data"] - sizes["A"]["predictions"] == 100
    share = {
        stage: chosen(content, stage=stage, metric="DPL", group="A", **{"class": "positive"})[0]
        for stage in ("data", "balanced")
    }
    assert share["balanced"]["value"] < share["data"]["value"] - 0.1


def test_a_guessed_label_is_seen_by_training_but_is_none_of_the_data(measured):
    rows = reviews(groups=("B", "C"))
    for row in rows[:50]:
        row |= {"split": "train", "label_source": "weak", "label_probability": 0.6}
    content = measured(rows, "product_category")
    sizes = {group["name"]: group["rows"] for group in content["facets"][0]["groups"]}
    assert (sizes["B"]["data"], sizes["B"]["balanced"]) == (150, 125)


def test_the_value_by_chance_stands_beside_what_is_never_0(measured):
    content = measured(reviews(groups=("B", "C")))
    for metric in ("KL", "JS", "Lp", "TVD", "KS"):
        for entry in chosen(content, metric=metric, facet="product_category", stage="data"):
            assert entry["chance"] > 0
            assert entry["standing"] == "open"
    assert all(e["chance"] is None for e in chosen(content, metric="DPL"))


def test_one_value_no_value_and_no_column_value_are_reported_not_errors(measured):
    rows = reviews(groups=("B", "C"), division="General", department=None)
    content = measured(rows, "division department product_category")
    notes = {facet["name"]: facet["note"] for facet in content["facets"]}
    assert notes["division"] == "every review has the division General"
    assert notes["department"] == "no review has a department"
    assert notes["product_category"] == ""
    alone = measured(rows, "division")
    assert alone["measures"] == []
    assert alone["headline"] == "There are no two groups to compare."


def test_a_class_absent_in_a_group_is_said_to_be(measured):
    rows = [r for r in reviews(groups=("B", "C")) if r["product_category"] == "C" or r["sentiment"]]
    for row in rows:
        row["predicted"] = row["sentiment"]
    content = measured(rows, "product_category")
    (entry,) = chosen(content, metric="KL", stage="data", group="B")
    assert (entry["value"], entry["standing"]) == (None, "undefined")
    assert entry["why"] == "class neutral does not occur in the group"
    recall = chosen(content, metric="RD", group="B", **{"class": "neutral"})[0]
    assert recall["why"] == "class neutral does not occur in the group"
    precision = chosen(content, metric="DAR", group="B", **{"class": "neutral"})[0]
    assert precision["why"] == "neutral is never predicted in the group"
    (impact,) = chosen(content, metric="DI", group="C", **{"class": "neutral"})
    assert impact["why"] == "neutral is never predicted outside the group"
    (treatment,) = chosen(content, metric="TE", group="C", **{"class": "positive"})
    assert treatment["why"] == "positive is never predicted wrongly in the group"


@pytest.mark.parametrize("count", [1, 2, 6])
def test_one_row_or_two_a_class_are_too_few_to_say(measured, count):
    rows = [
        {"sentiment": number % 3 - 1, "product_category": "AB"[number % 2], "age": 20 + number}
        for number in range(count)
    ]
    content = measured(rows, gate="DPPL:positive:age<=0.1")
    assert {e["standing"] for e in content["measures"]} <= {"too few to say", "undefined"}
    assert content["gate"]["within"] is True
    assert content["findings"] == []


def test_no_test_review_leaves_the_predictions_out(measured):
    content = measured(reviews(split="train"), "product_category")
    assert chosen(content, stage="predictions") == []
    assert chosen(content, stage="data")


def test_ten_thousand_categories_are_pooled(measured):
    rows = reviews(groups=[f"c{number}" for number in range(10_000)], each=1)
    rows += reviews(groups=("B", "A"), each=60)
    content = measured(rows, "product_category")
    groups = [group["name"] for group in content["facets"][0]["groups"]]
    assert len(groups) == MOST_GROUPS + 1
    assert {"A", "B"} < set(groups)
    assert groups[-1] == "9,972 others"
    assert sum(g["rows"]["data"] for g in content["facets"][0]["groups"]) == 10_120


def test_two_classes_of_any_name(measured):
    labels = LabelSet.parse("terrible=1,2 fine=3,4,5")
    rows = [
        row | {"sentiment": int(row["sentiment"] > 0), "predicted": int(row["predicted"] > 0)}
        for row in reviews()
    ]
    content = measured(rows, "product_category", "DPL:fine:product_category<=0.9", labels=labels)
    assert content["classes"] == ["terrible", "fine"]
    found = chosen(content, group="A", stage="data", metric="DPL")
    assert {e["class"]: round(e["value"], 6) for e in found}["fine"] > 0.2


def test_predictions_of_another_run_are_refused(write_reviews, tmp_path):
    other, _ = write_reviews(reviews(each=5))
    kept = other.rename(tmp_path / "other")
    _, predictions = write_reviews(reviews(each=6))
    with pytest.raises(UserError, match=r"of 9 predictions .* the two come from different runs"):
        measure(kept, predictions, tmp_path / "summary.json", "product_category")
    assert not (tmp_path / "summary.json").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour", "facets names 'colour'; name some of product_category, department"),
        ("age|colour", "facets names 'colour'"),
        ("review_body", "facets names 'review_body'"),
        ("../../age", r"facets names '\.\./\.\./age'"),
        (" , ", "facets names none; name some of"),
    ],
)
def test_an_unknown_facet_is_refused_with_the_known_ones(text, said):
    with pytest.raises(UserError, match=said):
        parse_facets(text)


def test_what_cdd_compares_within_is_named_or_the_last_other_facet():
    found = parse_facets("product_category department,age|department age")
    pairs = [(facet.name, facet.given) for facet in found]
    assert pairs == [("product_category", "age"), ("department", "age"), ("age", "department")]
    assert parse_facets("age")[0].given == ""


def test_ages_stand_in_bands_and_blank_is_not_given(measured):
    rows = reviews(groups=("B", " ", None))
    rows[0]["age"] = None
    content = measured(rows)
    category, age = ({g["name"] for g in facet["groups"]} for facet in content["facets"])
    assert category == {"B", "not given"}
    bands = {"below 25", "25 to 34", "35 to 44", "45 to 54", "55 to 64", "65 and above"}
    assert age == bands | {"not given"}


def test_a_distance_is_beyond_chance_not_only_beyond_0():
    counted = kinds_from_counts(list(COUNTS.values()))
    rows = FacetRows(Facet("product_category", ""), tuple(COUNTS), {"data": counted})
    entries, _ = measured_entries([rows], ("negative", "neutral", "positive"))
    of = {entry["group"]: entry for entry in entries if entry["metric"] == "KL"}
    assert of["Dresses"]["low"] > 0
    assert of["Dresses"]["standing"] == "open"
    assert of["Jeans"]["standing"] == "differs"


def test_a_facet_of_ones_own_is_the_one_file_of_its_page(measured, tmp_path, monkeypatch):
    (block,) = blocks("your-own.md", "A facet", "sql")
    name, *sql = block.splitlines()
    file = tmp_path / name.removeprefix("-- ")
    assert (ROOT / name.removeprefix("-- ")).parent == facets.DERIVED
    file.parent.mkdir(parents=True)
    file.write_text("\n".join(sql))
    monkeypatch.setattr(facets, "DERIVED", file.parent)
    rows = reviews(groups=("B", "C"))
    for row in rows[:100]:
        row["review_body"] = "It RUNS SMALL, alas"
    content = measured(rows, file.stem, f"RD:negative:{file.stem}<=0.1")
    sizes = {g["name"]: g["rows"]["data"] for g in content["facets"][0]["groups"]}
    assert sizes == {"size not named": 300, "size named": 100}
    file.write_text("case when colour")
    with pytest.raises(UserError, match="by about_size: Parser Error"):
        measured(rows, file.stem)
