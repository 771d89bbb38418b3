"""Explains the answers of a sparse model: what each word adds, left out and by itself."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.shared.machine.errors import UserError
from components.shared.records.decision import decide, log_softmax, probabilities
from components.shared.records.explanation import OCCLUSION, Explanation, Word
from components.shared.records.model_folder import (
    check_model_folder,
    read_calibration,
    read_class_names,
)
from components.shared.records.model_logits import load_sparse

_ENOUGH = 1e-6


class OcclusionExplainer:
    """Explains one sparse model, as `Explainer` explains a network.

    A word adds the mean of two differences of the answer's log-probability: that of the whole text
    without it, and that of an empty text with it. For a linear model that is near to what all
    orders of adding the words would give on average (Shapley 1953), at two answers a word.
    """

    def __init__(self, model_folder: str | Path) -> None:
        """Load a model folder; raises `UserError` if it is not whole or cannot be loaded."""
        folder = check_model_folder(model_folder)
        self.class_names = read_class_names(folder)
        self._calibration = read_calibration(folder)
        self._model = load_sparse(folder)

    def explain(self, text: str, label_id: int | None = None) -> Explanation:
        """The answer to a text, and what each word adds to its log-probability."""
        words = text.split()
        if not words:
            raise UserError("the review is blank; give its text")
        without = [" ".join([*words[:place], *words[place + 1 :]]) for place in range(len(words))]
        logits = self._model.logits([text, "", *without, *words])
        decided = int(decide(logits[:1], self._calibration)[0]) if label_id is None else label_id
        logs = log_softmax(logits, self._calibration.temperature)[:, decided]
        left_out, alone = np.split(logs[2:], 2)
        added = ((logs[0] - left_out) + (alone - logs[1])) / 2
        difference = float(logs[0] - logs[1])
        chances = probabilities(logits[:1], self._calibration)[0].tolist()
        return Explanation(
            label=self.class_names[decided],
            label_id=decided,
            probabilities=dict(zip(self.class_names, chances, strict=True)),
            words=tuple(Word(word, float(one)) for word, one in zip(words, added, strict=True)),
            unread="",
            completeness_error=abs(float(added.sum()) - difference) / max(abs(difference), _ENOUGH),
            difference=difference,
            method=OCCLUSION,
        )

    def answers(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Class index [n] and calibrated probabilities [n, classes] of texts, unexplained."""
        logits = self._model.logits(list(texts))
        return decide(logits, self._calibration), probabilities(logits, self._calibration)
