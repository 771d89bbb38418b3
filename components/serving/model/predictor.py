"""From texts, or keys of the feature store, to tokens; from logits to predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.serving.model.engine import AUTO, load_engine
from components.shared.machine.errors import UserError
from components.shared.machine.feature_store import open_existing_store
from components.shared.machine.online_features import online_features
from components.shared.records.decision import decide, probabilities
from components.shared.records.labels import SENTIMENTS
from components.shared.records.model_folder import (
    TOKENIZER,
    check_model_folder,
    kind_of,
    read_calibration,
    read_class_names,
    read_training_facts,
)
from components.shared.records.sparse_model import SPARSE

if TYPE_CHECKING:
    from feast import FeatureStore


class Tokens(NamedTuple):
    """A text as the model reads it, and whether it was cut.

    That is token ids with special tokens, unpadded; for a sparse model the text itself.
    """

    ids: Sequence[int] | str
    truncated: bool


@dataclass(frozen=True)
class Predictions:
    """What the model predicts for n texts."""

    classes: NDArray[np.int64]  # Class index of each text [n].
    probabilities: NDArray[np.float64]  # Calibrated probability of each class [n, classes].
    truncated: Sequence[bool]  # Whether each text was cut [n].
    class_names: Sequence[str] = SENTIMENTS.names  # [classes].

    @property
    def labels(self) -> list[str]:
        """Class name of each text."""
        return [self.class_names[index] for index in self.classes]


class Predictor:
    """A loaded model folder: tokenizer, engine and calibration.

    Texts of more than `max_tokens` are cut at their end, as in training; 0 cuts none.
    `feature_service` is what training read, '' where the folder names none.
    """

    def __init__(self, model_folder: str | Path, engine: str = AUTO) -> None:
        """Load a folder that training or `components.serving.export` wrote.

        Raises:
            UserError: If it is incomplete or cannot be loaded, or `load_engine` refuses the engine.
        """
        from tokenizers import Tokenizer

        folder = check_model_folder(model_folder)
        facts = read_training_facts(folder)
        self.max_tokens = int(facts["max_tokens"])
        self.feature_service = str(facts.get("facts", {}).get("feature_service", ""))
        self.class_names = read_class_names(folder)
        self._calibration = read_calibration(folder)
        self.engine = load_engine(folder, engine)
        self._tokenizer: Tokenizer | None = None
        if kind_of(folder) == SPARSE:
            return
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        except Exception as error:  # The Rust code raises bare Exception.
            raise UserError(f"{folder / TOKENIZER} cannot be read ({error}); train again") from None
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.max_tokens)

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        """What the model reads of texts made by `components.shared.records.text.model_text`."""
        if self._tokenizer is None:
            return [Tokens(text, truncated=False) for text in texts]
        return [
            Tokens(encoding.ids, bool(encoding.overflowing))
            for encoding in self._tokenizer.encode_batch_fast(list(texts))
        ]

    def decide(self, logits: NDArray[np.float32], truncated: Sequence[bool]) -> Predictions:
        """Decisions and calibrated probabilities of logits [n, classes]."""
        return Predictions(
            classes=decide(logits, self._calibration),
            probabilities=probabilities(logits, self._calibration),
            truncated=truncated,
            class_names=self.class_names,
        )

    def predict(self, texts: Sequence[str]) -> Predictions:
        """Predict texts, each made by `model_text`, in one forward pass; blocks until done."""
        tokens = self.tokenise(texts)
        logits = self.engine.logits([ids for ids, _ in tokens])
        return self.decide(logits, [truncated for _, truncated in tokens])


class FeatureLookup:
    """An open feature store, read through the feature service that the model was trained on.

    The service's name holds the fingerprint of tokenizer, limit and text rule, so that what comes
    back is what the model would have made of the text itself.
    """

    def __init__(self, feature_service: str, max_tokens: int) -> None:
        """Open the store that the environment names; raises `UserError` if that fails."""
        if not max_tokens:
            raise UserError(
                "a sparse model reads texts, and the feature store holds tokens; serve it without "
                "--features"
            )
        if not feature_service:
            raise UserError("the model folder names no feature service; train through the pipeline")
        self._service = feature_service
        self._max_tokens = max_tokens
        self._store: FeatureStore = open_existing_store()
        self.tokens(["-"])  # Fails now, not at the first request, where the service is missing.

    def tokens(self, review_ids: Sequence[str]) -> list[Tokens | None]:
        """Tokens of each review; None where the store does not hold it. Blocks.

        A review that fills the limit counts as truncated: the store does not keep what was cut.
        """
        rows = online_features(list(review_ids), self._service, self._store)
        return [
            row and Tokens(row["input_ids"], len(row["input_ids"]) >= self._max_tokens)
            for row in rows
        ]
