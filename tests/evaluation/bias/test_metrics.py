"""The formulas: Clarify's printed values, two libraries' numbers, and what they get wrong."""

import logging
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.bias.conftest import kinds_from_counts, kinds_of, values_of

# Negative, neutral and positive reviews of the Women's E-Commerce Clothing Reviews by category.
COUNTS = {
    "Blouses": (297, 336, 1907),
    "Dresses": (589, 721, 3914),
    "Fine gauge": (92, 93, 710),
    "Intimates": (11, 15, 98),
    "Jackets": (60, 56, 469),
    "Jeans": (70, 93, 776),
    "Knits": (417, 512, 3003),
    "Layering": (9, 7, 100),
    "Legwear": (13, 13, 106),
    "Lounge": (42, 70, 476),
    "Outerwear": (34, 22, 215),
    "Pants": (104, 137, 916),
    "Shorts": (21, 31, 205),
    "Skirts": (77, 90, 611),
    "Sleep": (20, 16, 142),
    "Sweaters": (122, 171, 876),
    "Swim": (34, 37, 222),
    "Trend": (18, 17, 67),
}
POSITIVE = 2


@pytest.fixture(scope="module")
def clothing():
    values = values_of(kinds_from_counts(list(COUNTS.values())))
    return {name: dict(zip(COUNTS, values[name], strict=True)) for name in ("CI", "DPL", "KL")}


def test_class_imbalance_is_what_clarify_prints_for_these_reviews(clothing):
    printed = {"Dresses": 0.457, "Knits": 0.591, "Blouses": 0.736, "Trend": 0.990}
    assert {name: clothing["CI"][name] for name in printed} == pytest.approx(printed, abs=0.002)


def test_the_difference_in_positive_labels_has_clarifys_sign_and_size(clothing):
    # Printed for another sample of the same reviews: equal within that sample's error.
    printed = {"Trend": 0.110, "Layering": -0.086, "Jeans": -0.056}
    ours = {name: clothing["DPL"][name][POSITIVE] for name in printed}
    assert ours == pytest.approx(printed, abs=0.01)
    # smclarify 0.5 on these very rows.
    exact = {"Trend": 0.112, "Layering": -0.094, "Jeans": -0.061}
    assert ours == pytest.approx(exact, abs=5e-4)


def test_divergences_keep_the_three_classes(clothing):
    assert clothing["KL"]["Trend"] == pytest.approx(0.0314, abs=5e-4)
    counts = np.array(list(COUNTS.values()))
    two = values_of(kinds_from_counts(np.stack([counts[:, :2].sum(1), counts[:, 2]], 1)))
    assert two["KL"][list(COUNTS).index("Trend")] == pytest.approx(0.030, abs=5e-4)
    assert two["KS"] == pytest.approx(two["TVD"])
    assert two["KS"] == pytest.approx(np.abs(two["DPL"][:, 1]))


def test_a_class_absent_in_a_group_neither_turns_a_distance_negative_nor_breaks_their_order():
    values = values_of(kinds_of([0, 0, 0, 1, 1, 1, 1, 1], [2, 2, 2, 1, 0, 2, 1, 0]))
    assert np.isnan(values["KL"][0]), "infinite: two classes do not occur in the group"
    assert values["KL"][1] == pytest.approx(np.log(5))
    assert values["KS"][0] == pytest.approx(0.8)
    assert values["TVD"][0] == pytest.approx(0.8)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 40), min_size=3, max_size=3), min_size=2, max_size=4))
def test_distances_are_in_their_range_and_order_whatever_the_counts(counts):
    counts = np.array(counts)
    if not counts.any():
        return
    values = values_of(kinds_from_counts(counts))
    inside = counts.sum(axis=1)
    both = (inside > 0) & (inside < counts.sum())
    assert (np.isfinite(values["TVD"]) == both).all()
    found = {name: values[name][both] for name in ("KL", "JS", "Lp", "TVD", "KS")}
    slack = 1e-12
    assert (np.nan_to_num(found["KL"]) >= -slack).all()
    assert ((found["JS"] >= -slack) & (found["JS"] <= np.log(2) + slack)).all()
    assert (found["KS"] <= found["TVD"] + slack).all()
    assert (found["TVD"] <= 1 + slack).all()


@pytest.fixture(scope="module")
def answers():
    generator = np.random.default_rng(4)
    group = generator.integers(0, 2, 600)
    truth = generator.binomial(1, 0.6 + 0.1 * group)
    predicted = np.where(generator.random(600) < 0.2 + 0.1 * group, 1 - truth, truth)
    return group, truth, predicted


@pytest.mark.filterwarnings("ignore")
def test_agrees_with_aif360(answers):
    group, truth, predicted = answers
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandas as pd
        from aif360.datasets import BinaryLabelDataset
        from aif360.metrics import ClassificationMetric
    logging.disable(logging.NOTSET)

    def theirs(rows):
        def as_dataset(label):
            frame = pd.DataFrame({"group": group[rows], "label": label[rows]})
            return BinaryLabelDataset(
                df=frame, label_names=["label"], protected_attribute_names=["group"]
            )

        sides = [{"group": 1}], [{"group": 0}]
        return ClassificationMetric(as_dataset(truth), as_dataset(predicted), *sides)

    both, alone = theirs(slice(None)), theirs(group == 1)
    ours = {
        name: values[1, 1]
        for name, values in values_of(kinds_of(group, truth, predicted, classes=2)).items()
        if values.ndim == 2
    }
    assert ours["DI"] == pytest.approx(both.disparate_impact())
    assert ours["DPL"] == pytest.approx(-both.mean_difference())
    assert ours["RD"] == pytest.approx(-both.true_positive_rate_difference())
    assert ours["GE"] == pytest.approx(alone.generalized_entropy_index(alpha=2))
    for name, sign, rate in (
        ("AD", 1, both.accuracy),
        ("SD", -1, both.true_negative_rate),
        ("DAR", 1, both.positive_predictive_value),
        ("DRR", -1, both.negative_predictive_value),
    ):
        outside, inside = rate(privileged=False), rate(privileged=True)
        assert ours[name] == pytest.approx(sign * (inside - outside)), name


@pytest.mark.filterwarnings("ignore")
def test_agrees_with_fairlearn(answers):
    from fairlearn.metrics import (
        MetricFrame,
        false_negative_rate,
        false_positive_rate,
        selection_rate,
    )
    from sklearn.metrics import accuracy_score, precision_score, recall_score

    group, truth, predicted = answers
    rates = {
        "share": selection_rate,
        "accuracy": accuracy_score,
        "recall": recall_score,
        "precision": precision_score,
        "misses": false_negative_rate,
        "alarms": false_positive_rate,
    }
    frame = MetricFrame(metrics=rates, y_true=truth, y_pred=predicted, sensitive_features=group)
    outside, inside = frame.by_group.loc[0], frame.by_group.loc[1]
    values = values_of(kinds_of(group, truth, predicted, classes=2))
    expected = {
        "DPL": outside["share"] - inside["share"],
        "AD": outside["accuracy"] - inside["accuracy"],
        "RD": outside["recall"] - inside["recall"],
        "DAR": outside["precision"] - inside["precision"],
    }
    assert {name: values[name][1, 1] for name in expected} == pytest.approx(expected)
    positive = {side: truth[group == side].mean() for side in (0, 1)}

    def misses_per_alarm(rate, side):
        return rate["misses"] * positive[side] / (rate["alarms"] * (1 - positive[side]))

    treatment = misses_per_alarm(inside, 1) - misses_per_alarm(outside, 0)
    assert values["TE"][1, 1] == pytest.approx(treatment)
    accepted = positive[0] / outside["share"] - positive[1] / inside["share"]
    assert values["DCA"][1, 1] == pytest.approx(accepted)
    rejected = (1 - positive[1]) / (1 - inside["share"]) - (1 - positive[0]) / (
        1 - outside["share"]
    )
    assert values["DCR"][1, 1] == pytest.approx(rejected)


def test_disparity_vanishes_within_strata_that_explain_it():
    # Group 1 is rejected more often, but only because it is mostly in the strict stratum.
    group = np.array([0] * 100 + [1] * 100)
    stratum = np.array([0] * 80 + [1] * 20 + [0] * 20 + [1] * 80)
    accepted = np.concatenate(
        [[1] * 60 + [0] * 20, [1] * 5 + [0] * 15, [1] * 15 + [0] * 5, [1] * 20 + [0] * 60]
    )
    apart = values_of(kinds_of(group, accepted, classes=2))["CDD"][1, 1]
    within = values_of(kinds_of(group, accepted, stratum=stratum, classes=2))["CDD"][1, 1]
    assert apart == pytest.approx(65 / 100 - 35 / 100)
    assert within == pytest.approx(0.0, abs=1e-12)


def test_a_stratum_without_both_sides_says_nothing():
    group, stratum = np.array([0, 0, 1, 1, 0, 1]), np.array([0, 0, 0, 0, 1, 1])
    accepted = np.array([1, 1, 0, 1, 1, 1])
    values = values_of(kinds_of(group, accepted, stratum=stratum, classes=2))
    assert values["CDD"][1, 1] == pytest.approx(1 - 1 / 3)
    nothing = values_of(kinds_of(group, np.ones(6, int), stratum=stratum, classes=2))
    assert np.isnan(nothing["CDD"]).all()


def test_copies_count_as_rows():
    weighted = values_of(kinds_of([0, 0, 1, 1], [0, 1, 0, 1], weight=[3, 1, 1, 1]))
    repeated = values_of(kinds_of([0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 0, 1]))
    for name, values in repeated.items():
        np.testing.assert_array_equal(weighted[name], values)
