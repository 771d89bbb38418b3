"""From texts to predictions with the model of one folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.contracts.base_model import load_tokenizer
from components.contracts.decision import decide, probabilities
from components.contracts.inference import load_model, predict_logits
from components.contracts.labels import CLASS_NAMES
from components.contracts.model_folder import (
    check_model_folder,
    read_calibration,
    read_training_facts,
)


@dataclass(frozen=True)
class Predictions:
    """What the model says of n texts.

    Attributes:
        classes: Class index of each text [n], int64.
        probabilities: Calibrated probability of each class [n, 3], float64.
    """

    classes: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    @property
    def labels(self) -> list[str]:
        """Class name of each text."""
        return [CLASS_NAMES[index] for index in self.classes]


class Predictor:
    """A model folder, loaded: tokenizer, network and calibration.

    Attributes:
        max_tokens: Longest input in tokens; longer texts are cut, as in training.
    """

    def __init__(self, model_folder: str | Path) -> None:
        """Load the folder.

        Args:
            model_folder: What training wrote.

        Raises:
            UserError: If the folder is not whole or cannot be loaded.
        """
        folder = check_model_folder(model_folder)
        self.max_tokens = int(read_training_facts(folder)["max_tokens"])
        self._calibration = read_calibration(folder)
        self._tokenizer = load_tokenizer(str(folder))
        self._model = load_model(folder)

    def predict(self, texts: Sequence[str]) -> Predictions:
        """Predict texts, each made by `components.contracts.text.model_text`.

        Blocks until done; not safe from two threads at once.

        Args:
            texts: n texts.

        Returns:
            The decisions and probabilities, in the order of the texts.
        """
        input_ids = self._tokenizer(
            list(texts), truncation=True, max_length=self.max_tokens, return_attention_mask=False
        )["input_ids"]
        logits = predict_logits(self._model, input_ids)
        return Predictions(
            classes=decide(logits, self._calibration),
            probabilities=probabilities(logits, self._calibration),
        )
