"""From texts to predictions with the model of one folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.serving.model.engine import AUTO, Engine, load_engine
from components.shared.machine.errors import UserError
from components.shared.records.decision import decide, probabilities
from components.shared.records.labels import CLASS_NAMES
from components.shared.records.model_folder import (
    TOKENIZER,
    check_model_folder,
    read_calibration,
    read_training_facts,
)


class Tokens(NamedTuple):
    """A text as the network reads it.

    Attributes:
        ids: Token ids, special tokens included, unpadded.
        truncated: Whether the text was longer than the model reads.
    """

    ids: Sequence[int]
    truncated: bool


@dataclass(frozen=True)
class Predictions:
    """What the model says of n texts.

    Attributes:
        classes: Class index of each text [n], int64.
        probabilities: Calibrated probability of each class [n, 3], float64.
        truncated: Whether each text was cut [n].
    """

    classes: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    truncated: Sequence[bool]

    @property
    def labels(self) -> list[str]:
        """Class name of each text."""
        return [CLASS_NAMES[index] for index in self.classes]


class Predictor:
    """A model folder, loaded: tokenizer, engine and calibration.

    Attributes:
        max_tokens: Longest input in tokens; longer texts are cut at their end, as in training.
        engine: What computes the logits.
        feature_service: Feature service that training read, '' where the folder names none.
    """

    def __init__(self, model_folder: str | Path, engine: str = AUTO) -> None:
        """Load the folder.

        Args:
            model_folder: What training or `components.serving.export` wrote.
            engine: As in `components.serving.model.engine.load_engine`.

        Raises:
            UserError: If the folder is not whole or cannot be loaded.
        """
        from tokenizers import Tokenizer

        folder = check_model_folder(model_folder)
        facts = read_training_facts(folder)
        self.max_tokens = int(facts["max_tokens"])
        self.feature_service = str(facts.get("facts", {}).get("feature_service", ""))
        self._calibration = read_calibration(folder)
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        except Exception as error:  # The Rust code raises bare Exception.
            raise UserError(f"{folder / TOKENIZER} cannot be read ({error}); train again") from None
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.max_tokens)
        self.engine: Engine = load_engine(folder, engine)

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of texts, each made by `components.shared.records.text.model_text`."""
        return [
            Tokens(encoding.ids, bool(encoding.overflowing))
            for encoding in self._tokenizer.encode_batch_fast(list(texts))
        ]

    def decide(self, logits: NDArray[np.float32], truncated: Sequence[bool]) -> Predictions:
        """Decisions and calibrated probabilities of logits [n, 3]."""
        return Predictions(
            classes=decide(logits, self._calibration),
            probabilities=probabilities(logits, self._calibration),
            truncated=truncated,
        )

    def predict(self, texts: Sequence[str]) -> Predictions:
        """Predict texts in one forward pass; blocks until done.

        Args:
            texts: n texts, each made by `components.shared.records.text.model_text`.

        Returns:
            The decisions and probabilities, in the order of the texts.
        """
        tokens = self.tokenise(texts)
        logits = self.engine.logits([ids for ids, _ in tokens])
        return self.decide(logits, [truncated for _, truncated in tokens])
