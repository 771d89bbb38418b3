"""The sparse kind of model: counts of a text's words, and one linear layer on them.

Its folder holds numbers and words and nothing that runs: `features.json` names the vocabulary and
how texts become features, `model.safetensors` holds `weights` [features, classes], `bias` [classes]
and, for TF-IDF, `idf` [features]. It reads whole texts, so nothing is ever cut.

This file travels with every registered version of the kind: it imports nothing of this project but
its neighbour.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .fasttext_features import FastTextFeatures

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FEATURES = "features.json"

SPARSE = "sparse"
"""`model_type` in the `config.json` of such a folder, and the name of what computes."""

TFIDF, FASTTEXT = "tfidf", "fasttext"
"""How texts become features: `kind` in `features.json`."""

Features = Callable[[Sequence[str]], "csr_matrix"]


class SparseModel:
    """A model folder of the sparse kind, loaded; an engine for the server as it is."""

    name = SPARSE
    parallel = 1  # Python code for the most part: a second thread would only wait.

    def __init__(self, folder: Path) -> None:
        """Load a folder; `ValueError`, `KeyError` or `OSError` if it makes no sense."""
        from safetensors.numpy import load_file

        described = json.loads((folder / FEATURES).read_text(encoding="utf-8"))
        numbers = load_file(folder / "model.safetensors")
        self.weights, self.bias = numbers["weights"], numbers["bias"]
        self._features = features_of(described, numbers)
        self.logits(["a"])  # Fails now where words and weights do not belong together.

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Logits [n, classes] of n texts, each made by `text.model_text`."""
        found = self._features(texts)
        if found.shape[1] != len(self.weights):
            raise ValueError(f"{found.shape[1]} features, but weights for {len(self.weights)}")
        return np.asarray(found @ self.weights + self.bias, dtype=np.float32)


def features_of(described: Mapping[str, Any], numbers: Mapping[str, NDArray[Any]]) -> Features:
    """What makes features of texts, from `features.json` and the numbers beside it."""
    kind = described["kind"]
    if kind == FASTTEXT:
        return FastTextFeatures(**described["settings"]).matrix
    if kind == TFIDF:
        return _tfidf(described, numbers["idf"])
    raise ValueError(f"features of the kind {kind!r} are not known")


def _tfidf(described: Mapping[str, Any], idf: NDArray[np.float32]) -> Features:
    """The vectoriser with the vocabulary and weights that it learned."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    settings = described["settings"]
    vectorizer = TfidfVectorizer(
        vocabulary=described["terms"],
        ngram_range=tuple(settings["ngram_range"]),
        sublinear_tf=bool(settings["sublinear_tf"]),
        dtype=np.float32,
    )
    vectorizer.idf_ = idf
    return vectorizer.transform  # type: ignore[no-any-return]
