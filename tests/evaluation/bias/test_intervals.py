import numpy as np
import pytest

from components.evaluation.bias.intervals import bounds, critical, sample
from tests.evaluation.bias.conftest import kinds_from_counts, kinds_of

RESAMPLES = 400


def sampled(kinds, seed=0):
    return sample(kinds, RESAMPLES, np.random.default_rng(seed))


def test_an_interval_of_one_number_is_the_textbook_one():
    one = sampled(kinds_from_counts([[300, 700], [450, 550]]))
    expected = np.sqrt(0.3 * 0.7 / 1000 + 0.45 * 0.55 / 1000)
    assert one.spread["DPL"][1, 1] == pytest.approx(expected, rel=0.1)
    assert one.value["DPL"][1, 1] == pytest.approx(0.15)


def test_more_groups_and_facets_make_wider_intervals():
    few, many = (sampled(kinds_from_counts([[60, 140]] * groups)) for groups in (2, 20))
    narrow, wide = critical([few.farthest]), critical([many.farthest])
    assert 1.96 < narrow < wide < critical([few.farthest, many.farthest[::-1]])
    assert critical([]) == 0


def test_groups_that_differ_by_chance_alone_are_rarely_said_to_differ():
    generator, wrong = np.random.default_rng(1), 0
    for _ in range(20):
        kinds = kinds_of(
            generator.integers(0, 12, 1500), generator.choice(3, 1500, p=[0.1, 0.2, 0.7])
        )
        one = sampled(kinds, generator)
        apart = np.abs(one.value["DPL"]) / one.spread["DPL"]
        wrong += np.nanmax(apart) > critical([one.farthest])
    assert wrong <= 4, "20 times 5 % is 1"


def test_what_chance_would_show_is_what_random_groups_show():
    generator = np.random.default_rng(2)
    truth, group = generator.choice(3, 400, p=[0.2, 0.3, 0.5]), np.repeat([0, 1], [200, 200])
    shown = [
        np.abs(
            np.bincount(truth[mixed == 1], minlength=3) / 200
            - np.bincount(truth[mixed == 0], minlength=3) / 200
        ).sum()
        / 2
        for mixed in (generator.permutation(group) for _ in range(400))
    ]
    one = sampled(kinds_of(group, truth))
    assert one.chance["TVD"][1] == pytest.approx(np.mean(shown), rel=0.1)
    assert one.chance_spread["TVD"][1] == pytest.approx(np.std(shown), rel=0.15)


def test_small_groups_and_rare_cases_have_no_interval():
    one = sampled(kinds_from_counts([[500, 500], [14, 15], [60, 9]]))
    assert np.isnan(one.spread["DPL"][1]).all(), "29 rows"
    assert np.isnan(one.spread["DPL"][2]).all(), "9 rows of a class"
    assert np.isfinite(one.spread["DPL"][0]).all()
    assert np.isfinite(one.spread["TVD"]).tolist() == [True, False, True]
    # Nor has a group that is nearly everything: there is nothing to compare it with.
    assert np.isnan(sampled(kinds_from_counts([[500, 500], [14, 15]])).spread["DPL"]).all()


def test_a_group_without_any_error_is_not_sure_to_differ():
    truth = np.arange(200) % 2
    predicted = np.where(np.arange(200) < 60, 1 - truth, truth)
    one = sampled(kinds_of(np.arange(200) >= 160, truth, predicted, classes=2))
    assert np.isnan(one.spread["AD, all classes"]).all()


def test_rows_that_balancing_repeats_are_resampled_as_one_row():
    rows = kinds_of([0, 1] * 200, [0, 0, 1, 1] * 100, weight=[5] * 400, classes=2)
    once = kinds_of([0, 1] * 200, [0, 0, 1, 1] * 100, classes=2)
    for name in ("DPL", "TVD"):
        np.testing.assert_allclose(sampled(rows).spread[name], sampled(once).spread[name])
    np.testing.assert_allclose(sampled(rows).chance["TVD"], sampled(once).chance["TVD"])


def test_bounds_stay_in_the_range_of_the_metric():
    assert bounds("DPL", 0.1, 0.1, 2) == pytest.approx((-0.1, 0.3))
    assert bounds("TVD", 0.1, 0.1, 2) == pytest.approx((0, 0.3))
    low, high = bounds("DI", 0.5, 0.5, 2)
    assert 0 < low < 0.5 < high
    assert low * high == pytest.approx(0.25)
    assert bounds("JS", 0.04, 0.3, 2)[0] == 0
