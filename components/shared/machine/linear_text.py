"""The linear text classifier: cheap to train, and hard to beat by much."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import SGDClassifier


_MOST_TERMS = 200_000


def tfidf(ngrams: int = 2, least_texts: int = 2) -> "TfidfVectorizer":
    """TF-IDF of words and n-grams, the most frequent ones.

    Args:
        ngrams: Longest n-gram, in words.
        least_texts: Texts that a term has to stand in.
    """
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        ngram_range=(1, ngrams),
        min_df=least_texts,
        max_features=_MOST_TERMS,
        sublinear_tf=True,
        dtype=np.float32,
    )


def linear_classifier(
    seed: int, alpha: float = 1e-4, class_weight: str | None = "balanced"
) -> "SGDClassifier":
    """Logistic regression by stochastic gradients; by default all classes count the same.

    As good as scikit-learn's `LogisticRegression` here, and ten times as fast.
    """
    from sklearn.linear_model import SGDClassifier

    return SGDClassifier(
        loss="log_loss", alpha=alpha, class_weight=class_weight, random_state=seed, tol=1e-3
    )
