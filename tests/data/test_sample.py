from collections import Counter

import pytest

from components.data.sources import SAMPLE
from components.shared.records.splits import text_identity
from components.shared.records.text import model_text
from tests.data.sample_generator import RATINGS, generate, write_sample


def test_the_generator_writes_the_committed_sample_byte_for_byte(tmp_path):
    write_sample(tmp_path / "sample.csv")
    assert (tmp_path / "sample.csv").read_bytes() == SAMPLE.read_bytes()
    # Ratings are spread as in the real set.
    counts = Counter(row[5].removesuffix(".0") for row in generate(6_000, seed=1))
    for rating, share in RATINGS.items():
        assert counts[str(rating)] / 6_000 == pytest.approx(share, abs=0.03)


def test_the_sample_has_the_real_sets_dirt_and_all_classes(run_ingest):
    done = run_ingest(SAMPLE)
    summary = done.summary
    assert summary.rows_in == 1_500
    assert 30 <= summary.reasons["review text is empty"] <= 60
    assert summary.reasons["rating is not a whole number from 1 to 5"] >= 3
    assert summary.duplicates >= 5
    assert min(summary.profile["sentiments"].values()) >= 100
    assert summary.profile["missing"]["product_category"] >= 3
    assert summary.profile["unlabelled"] >= 1
    assert 0.1 < summary.profile["missing"]["title"] / summary.rows_kept < 0.2
    texts = [row["review_body"] for row in done.kept]
    for odd in ("\n", "<p>", "&amp;", "😍"):
        assert any(odd in text for text in texts)
    assert max(map(len, texts)) > 2_000
    assert len({text_identity(text) for text in texts}) > 0.98 * len(texts)


@pytest.mark.slow
def test_counting_words_is_not_enough_for_the_sample(run_ingest):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline

    kept = [row for row in run_ingest(SAMPLE).kept if row["sentiment"] is not None]
    texts = [model_text(row["title"], row["review_body"]) for row in kept]
    labels = [row["sentiment"] for row in kept]
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10))
    accuracy = cross_val_score(model, texts, labels, cv=3).mean()
    majority = labels.count(1) / len(labels)
    assert majority + 0.02 < accuracy < 0.9
