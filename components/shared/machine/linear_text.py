"""The linear text classifier: cheap to train, and hard to beat by much."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import SGDClassifier


def tfidf(most_features: int = 200_000) -> "TfidfVectorizer":
    """Words and pairs of words that stand in two reviews or more, by falling frequency."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        ngram_range=(1, 2),
        min_df=2,
        max_features=most_features,
        sublinear_tf=True,
        dtype=np.float32,
    )


def linear_classifier(seed: int, alpha: float = 1e-4) -> "SGDClassifier":
    """Logistic regression by stochastic gradients, each class with the same weight.

    As good as scikit-learn's `LogisticRegression` here, and ten times as fast.
    """
    from sklearn.linear_model import SGDClassifier

    return SGDClassifier(
        loss="log_loss", alpha=alpha, class_weight="balanced", random_state=seed, tol=1e-3
    )
