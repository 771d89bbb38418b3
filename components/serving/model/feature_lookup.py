"""Reviews by key: their tokens from Feast's online store, where the pipeline put them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.serving.model.predictor import Tokens
from components.shared.machine.errors import UserError
from components.shared.machine.feature_store import open_existing_store
from components.shared.machine.online_features import online_features

if TYPE_CHECKING:
    from feast import FeatureStore


class FeatureLookup:
    """An open feature store, read through the feature service that the model was trained on.

    The service's name holds the fingerprint of tokenizer, limit and text rule, so that what comes
    back is what the model would have made of the text itself.
    """

    def __init__(self, feature_service: str, max_tokens: int) -> None:
        """Open the store.

        Args:
            feature_service: That training read, as the model folder says.
            max_tokens: Where the features were cut.

        Raises:
            UserError: If the folder names no service, or the store cannot be opened.
        """
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
