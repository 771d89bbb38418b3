"""A version with a reference, and logs of its answers, in three categories and numbers."""

import numpy as np
import pytest

from tests.monitoring.made_up_log import NAMES, served_model, write_log

CATEGORIES = ("Dresses", "Tops", "Knits")


def made_up_rows(rows, seed, dresses=0.2, **changes):
    """Columns of reviews and answers, alike but for the share of dresses."""
    random = np.random.default_rng(seed)
    confidence = np.round(0.99 - 0.4 * random.random(rows) ** 2, 4)
    label = random.choice(NAMES, rows, p=(0.1, 0.1, 0.8))
    columns = {f"p_{name}": (1 - confidence) / 2 for name in NAMES}
    columns = {name: np.where(label == name[2:], confidence, c) for name, c in columns.items()}
    shares = {
        "unknown_share": random.beta(1, 60, rows).astype(np.float32),
        "function_word_share": random.beta(40, 40, rows).astype(np.float32),
        "non_ascii_share": np.where(random.random(rows) < 0.02, 0.01, 0.0).astype(np.float32),
        "distinct_share": random.beta(60, 10, rows).astype(np.float32),
    }
    rest = (1 - dresses) / 2
    names = random.choice(CATEGORIES, rows, p=(dresses, rest, rest))
    made = {"label": label, "product_category": names, "n_words": random.poisson(60, rows)}
    return made | columns | shares | changes


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Version 3, right in nine of ten test reviews."""
    rows = made_up_rows(6000, seed=0)
    tested = np.arange(6000) < 1500
    for name in ("label", *(f"p_{name}" for name in NAMES)):
        rows[name] = [
            value if test else None for value, test in zip(rows[name], tested, strict=True)
        ]
    rows["correct"] = [(place % 10 > 0) if test else None for place, test in enumerate(tested)]
    rows["split"] = np.where(tested, "test", "train")
    return served_model(tmp_path_factory.mktemp("model"), rows)


@pytest.fixture
def log(tmp_path):
    """Writes a log of so many answers; returns its folder."""

    def written(rows=2000, seed=1, dresses=0.2, folder="payloads", **changes):
        same = {
            name: changes.pop(name) for name in ("model_name", "model_version") if name in changes
        }
        spans = {name: changes.pop(name) for name in ("since", "until") if name in changes}
        columns = made_up_rows(rows, seed, dresses, **changes)
        return write_log(tmp_path / folder, columns, **same, **spans)

    return written
