import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.metrics import f1_score

from components.shared.machine.label_experiment import (
    SEEDS,
    Taught,
    Variant,
    _macro_f1,
    compare_variants,
)

RANDOM = np.random.default_rng(0)
CLASSES = RANDOM.integers(0, 3, 900)
FEATURES = csr_matrix(np.eye(3)[CLASSES] + RANDOM.normal(0, 0.7, (900, 3)))
NOISY = np.where(RANDOM.random(900) < 0.5, RANDOM.integers(0, 3, 900), CLASSES)


def learn(classes, rows=None):
    rows = np.arange(600) if rows is None else rows
    return lambda _: Taught(rows, classes[rows], np.ones(len(rows)))


def compared(**variants):
    made = {
        name: Variant(FEATURES[:600], FEATURES[600:], teach) for name, teach in variants.items()
    }
    return {one.name: one for one in compare_variants(made, CLASSES[600:], 3, seed=1)}


def test_a_change_that_helps_or_harms_is_told_from_none():
    wrong, some = np.where(CLASSES == 0, 1, CLASSES), np.arange(500)
    found = compared(first=learn(CLASSES), same=learn(CLASSES), wrong=learn(wrong, some))
    assert found["first"].difference.value == found["same"].difference.value == 0
    assert found["same"].verdict == "has no proven effect"
    assert found["wrong"].verdict == "harms"
    assert found["wrong"].rows == 500
    difference = found["wrong"].difference
    assert difference.low < difference.value < difference.high < 0
    assert difference.value == pytest.approx(found["wrong"].macro_f1 - found["first"].macro_f1)
    back = compared(wrong=learn(wrong, some), right=learn(CLASSES))["right"]
    assert back.verdict == "helps"
    assert back.in_words.startswith(f"helps (macro-F1 +{back.difference.value:.3f}, +")


def test_a_row_counts_by_its_weight():
    nothing = np.where(np.arange(600) < 300, 1.0, 1e-9)
    wrong = np.where(np.arange(900) < 300, CLASSES, (CLASSES + 1) % 3)
    rows = np.arange(600)
    found = compared(
        first=learn(CLASSES),
        unsure=lambda _: Taught(rows, wrong[rows], nothing),
        sure=lambda _: Taught(rows, wrong[rows], np.ones(600)),
    )
    assert found["unsure"].macro_f1 > found["sure"].macro_f1 + 0.1


def test_intervals_are_wider_where_several_variants_are_tried():
    wrong = learn(np.where(CLASSES == 0, 1, CLASSES), np.arange(40))
    alone = compared(first=learn(CLASSES), wrong=wrong)["wrong"].difference
    beside = compared(first=learn(CLASSES), wrong=wrong, more=wrong, still=wrong)
    wide = beside["wrong"].difference
    assert wide.low < alone.low < alone.high < wide.high


def test_each_seed_has_a_training_of_its_own():
    seen = []

    def noted(seed):
        seen.append(seed)
        return Taught(np.arange(600), CLASSES[:600], np.ones(600))

    compared(first=noted)
    assert seen == list(range(1, 1 + SEEDS))


def test_macro_f1_is_scikit_learns_and_all_models_meet_the_same_draws():
    truth = CLASSES[:200]
    models = [NOISY[:200], truth, NOISY[:200]]
    point, drawn = _macro_f1(truth, models, 3)
    assert point == pytest.approx([f1_score(truth, model, average="macro") for model in models])
    assert np.array_equal(drawn[0], drawn[2])
    assert np.allclose(drawn[1], 1)
    assert drawn[0].std() == pytest.approx(0.035, abs=0.012)
