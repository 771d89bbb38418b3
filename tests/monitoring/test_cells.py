import numpy as np
import pytest
from scipy.stats import chi2_contingency

from components.monitoring.cells import LEAST_EXPECTED, cells_of_names, cells_of_numbers


def normal(rows, seed, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1, rows)


def test_the_p_value_is_that_of_a_table_of_two_samples():
    cells = cells_of_numbers(normal(8000, 0), normal(2000, 1))
    table = np.stack([cells.reference, cells.now])
    assert cells.p_value == pytest.approx(chi2_contingency(table, correction=False).pvalue)
    assert cells.effect == pytest.approx(
        np.abs(cells.reference / 8000 - cells.now / 2000).sum() / 2
    )


def test_unchanged_numbers_get_p_values_spread_evenly():
    p_values = [
        cells_of_numbers(normal(4000, seed), normal(1000, 1000 + seed)).p_value
        for seed in range(300)
    ]
    assert np.mean(np.array(p_values) < 0.1) == pytest.approx(0.1, abs=0.05)
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.06)


def test_two_in_a_hundred_far_out_are_seen_though_the_mean_hardly_moves():
    now = normal(2000, 1)
    now[:40] = 3.5
    cells = cells_of_numbers(normal(8000, 0), now)
    assert cells.p_value < 1e-6
    assert cells.now[-1] >= 40


def test_every_cell_is_expected_to_hold_enough():
    reference, now = normal(20_000, 0), normal(600, 1)
    cells = cells_of_numbers(reference, now)
    assert cells.reference.sum() == 20_000
    assert cells.now.sum() == 600
    expected = (cells.reference + cells.now) * 600 / 20_600
    assert expected.min() >= LEAST_EXPECTED
    assert cells.reference[0] == (reference <= cells.edges[0]).sum()
    assert cells.now[-1] == (now > cells.edges[-1]).sum()


def test_ties_make_fewer_cells():
    mostly_zero = np.where(np.arange(5000) % 50 == 0, 0.5, 0.0)
    cells = cells_of_numbers(mostly_zero, np.zeros(1000))
    assert cells.names == ("up to 0", "above 0")
    same = cells_of_numbers(np.ones(1000), np.ones(1000))
    assert (same.p_value, same.effect) == (1.0, 0.0)


def test_edges_that_no_engine_can_keep_apart_are_left_out():
    sure = 1 - np.random.default_rng(0).random(5000) / 100
    assert len(cells_of_numbers(sure, sure - 0.001, least_width=0.0).names) > 5
    assert len(cells_of_numbers(sure, sure - 0.001, least_width=0.01).names) < 3


def test_a_new_name_is_a_cell_of_its_own_and_few_rare_ones_are_left_out():
    reference = ["Tops"] * 900 + ["Dresses"] * 590 + [f"rare {n}" for n in range(10)]
    cells = cells_of_names(reference, ["Tops"] * 200 + ["Hats"] * 100)
    assert cells.names == ("Tops", "Dresses", "Hats")
    assert cells.reference.tolist() == [900, 590, 0]
    assert cells.now.tolist() == [200, 0, 100]


def test_many_rare_names_are_called_so():
    rare = [f"rare {n}" for n in range(100)]
    cells = cells_of_names(["Tops"] * 900 + rare, ["Tops"] * 900 + rare)
    assert cells.names == ("Tops", "rare ones")
    assert cells.reference.tolist() == cells.now.tolist() == [900, 100]
