import numpy as np
import pytest
from scipy.sparse import csr_matrix, identity

from components.labelling import agreement
from components.labelling.agreement import agreed_classes

RATED = np.arange(0, 120, 2)
CLASSES = np.arange(60) % 3
FOLDS = np.arange(60) % 5


class Remembering:
    """A model that knows which rows it learned from: row i of the features is the number i."""

    def __init__(self, chances):
        self.chances = chances
        self.classes_ = np.arange(3)

    def fit(self, matrix, classes):
        self.seen = set(matrix.indices)
        assert [CLASSES[row // 2] for row in matrix.indices] == classes.tolist()
        return self

    def predict_proba(self, matrix):
        assert not self.seen & set(matrix.indices)
        return np.tile(self.chances, (matrix.shape[0], 1))


@pytest.fixture
def agreed(monkeypatch):
    def run(*chances):
        models = [Remembering(np.array(one)) for _ in range(6) for one in chances]
        left = list(models)
        monkeypatch.setattr(agreement, "linear_classifier", lambda _: left.pop(0))
        features = csr_matrix(identity(120))
        return agreed_classes(features, RATED, CLASSES, FOLDS, 1), models

    return run


def test_no_row_is_judged_by_a_model_that_learned_from_it(agreed):
    found, models = agreed((0.1, 0.1, 0.8), (0.0, 0.1, 0.9))
    assert (found == 2).all()
    for first, second in zip(models[::2], models[1::2], strict=True):
        assert not first.seen & second.seen
    assert models[-1].seen | models[-2].seen == set(RATED)


@pytest.mark.parametrize("second", [(0.8, 0.1, 0.1), (0.2, 0.2, 0.6)])
def test_models_that_differ_or_waver_abstain(agreed, second):
    found, _ = agreed((0.1, 0.1, 0.8), second)
    assert (found == -1).all()
