"""Read features of single reviews from the online store."""

import re
from typing import TYPE_CHECKING, Any

from components.shared.machine.errors import UserError
from components.shared.machine.feature_store import open_store
from feature_repo.definitions import SERVICE

if TYPE_CHECKING:
    from feast import FeatureStore


def online_features(
    review_ids: list[str], feature_service: str, store: "FeatureStore | None" = None
) -> list[dict[str, Any] | None]:
    """Look up [n] reviews by their ids, in an open store where many look-ups follow each other.

    Returns:
        [n] features by name, in the order of the ids, `review_id` included; None where the online
        store does not hold the review.

    Raises:
        UserError: If the service is not registered.
    """
    if not review_ids:
        return []
    from feast.errors import FeastObjectNotFoundException

    store = store or open_store()
    try:
        service = store.get_feature_service(feature_service)
    except FeastObjectNotFoundException:
        remedy = "run the pipeline first"
        if re.search("_[0-9a-f]{12}$", feature_service):  # as names ended up to release 1
            remedy = "if a former release made it: python -m components.features migrate"
        raise UserError(f"feature service {feature_service} is not registered; {remedy}") from None
    keys = [{"review_id": review_id} for review_id in review_ids]
    columns = store.get_online_features(features=service, entity_rows=keys).to_dict()
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    return [row if row["n_tokens"] is not None else None for row in rows]


def latest_feature_service(store: "FeatureStore") -> str:
    """Name of the service of the newest tokenizer; `UserError` if there is none.

    Where only labels of other classes than the default ones are, the one registered last.
    """
    services = store.list_feature_services()
    if any(service.name == SERVICE for service in services):
        return SERVICE
    if not services:
        raise UserError("the feature store is empty; run the pipeline first")
    return max(services, key=lambda service: (service.created_timestamp, service.name)).name
