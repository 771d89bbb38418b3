"""The predictor as a KServe model: a request in, tokens, a shared forward pass, an answer out."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpc import StatusCode
from grpc_interceptor.exceptions import GrpcException
from kserve import InferRequest, InferResponse, Model
from kserve.errors import InvalidInput, ModelNotFound

from components.serving.model.batching import BATCH_REVIEWS, Batcher, OverloadedError
from components.serving.model.engine import AUTO
from components.serving.model.feature_lookup import FeatureLookup
from components.serving.model.predictor import Predictor, Tokens
from components.serving.observing.metrics import ServingMetrics
from components.serving.observing.payload_log import PayloadLog
from components.serving.observing.request_record import current_request
from components.serving.server.protocol import (
    V2_INPUTS,
    V2_OUTPUTS,
    Review,
    predictions_of_v1,
    response_of_v2,
    reviews_of_v1,
    reviews_of_v2,
)
from components.shared.machine.errors import UserError

_INLINE_BYTES = 16_384
"""Requests of at most this size are read and tokenised in the event loop; larger ones would hold it
up, and are read in a thread."""


class Refusal(GrpcException):
    """A request that finds no room: status 503 with Retry-After, RESOURCE_EXHAUSTED in gRPC.

    Attributes:
        retry_after: Seconds.
    """

    status_code = StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, overloaded: OverloadedError) -> None:
        """Say when to come again."""
        super().__init__(str(overloaded), self.status_code)
        self.retry_after = overloaded.retry_after


@dataclass(frozen=True)
class ServingOptions:
    """How a model is served.

    Attributes:
        engine: As in `components.serving.model.engine.load_engine`.
        batch_reviews: Most reviews in a forward pass.
        max_queued_reviews: Reviews that may wait.
        max_wait_seconds: No request is accepted that would wait longer for its forward pass.
        features: Whether reviews may be asked for by their key in the feature store.
    """

    engine: str = AUTO
    batch_reviews: int = BATCH_REVIEWS
    max_queued_reviews: int = 1024
    max_wait_seconds: float = 2.0
    features: bool = False


class SentimentModel(Model):
    """The model of one folder behind KServe's protocols.

    Attributes:
        version: Version in the registry, told in every answer.
        metrics: What Prometheus is shown of it.
    """

    def __init__(
        self,
        name: str,
        version: str,
        model_folder: str | Path,
        options: ServingOptions | None = None,
        payload_log: PayloadLog | None = None,
    ) -> None:
        """Remember what to load.

        Args:
            name: Name in the URLs.
            version: Version in the registry.
            model_folder: Folder that `load` reads.
            options: How to serve it.
            payload_log: Gets every answer.
        """
        super().__init__(name)
        self.version = version
        self.metrics = ServingMetrics(name, version)
        self._folder = Path(model_folder)
        self._options = options or ServingOptions()
        self._payload_log = payload_log
        self._predictor: Predictor | None = None
        self._lookup: FeatureLookup | None = None
        self._side_work = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenise-and-look")

    @property
    def engine_name(self) -> str:
        """What computes the forward pass; '' before `load`."""
        return self._predictor.engine.name if self._predictor else ""

    def load(self) -> bool:
        """Load the folder and predict once, so that the first request finds a warm model.

        Raises:
            UserError: If the folder is not a whole model folder.
        """
        options = self._options
        predictor = self._predictor = Predictor(self._folder, options.engine)
        predictor.predict(["warm"])
        if options.features:
            self._lookup = FeatureLookup(predictor.feature_service, predictor.max_tokens)
        self._batcher = Batcher(
            predictor.engine,
            max_queued_reviews=options.max_queued_reviews,
            max_wait_seconds=options.max_wait_seconds,
            batch_reviews=options.batch_reviews,
            on_batch=self.metrics.batch,
        )
        self.ready = True
        return self.ready

    async def predict(
        self,
        payload: Any,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> dict[str, Any] | InferResponse:
        """Answer a v1 or v2 request.

        Args:
            payload: What KServe decoded: a mapping or bytes for v1, an `InferRequest` for v2.
            headers: Of the request.
            response_headers: Of the response; left as they are.

        Returns:
            The answer of the same protocol.

        Raises:
            InvalidInput: If the client sent something else; becomes status 400.
            ModelNotFound: If the client asks for another version; becomes status 404.
            Refusal: If there is more to do than can be done in time; becomes status 503.
        """
        if self._predictor is None:
            raise RuntimeError("load() has not been called")
        is_v2 = isinstance(payload, InferRequest)
        if is_v2 and payload.model_version not in (None, "", self.version):
            raise ModelNotFound(f"{self.name} version {payload.model_version}")
        length = (headers or {}).get("content-length", "")  # In gRPC, whatever the client says.
        try:
            if length.isdecimal() and len(length) < 10 and int(length) <= _INLINE_BYTES:
                reviews, made = self._read(payload)
            else:
                reviews, made = await asyncio.get_running_loop().run_in_executor(
                    self._side_work, self._read, payload
                )
            tokens = await self._with_looked_up(reviews, made)
        except UserError as error:
            raise InvalidInput(str(error)) from None
        try:
            answer = await self._batcher.logits([ids for ids, _ in tokens])
        except OverloadedError as error:
            raise Refusal(error) from None
        finally:
            self.metrics.queued(self._batcher.queued_reviews)
        predictions = self._predictor.decide(answer.logits, [cut for _, cut in tokens])
        self._record(reviews, predictions, answer.queue_seconds)
        if is_v2:
            limit = self._predictor.max_tokens
            return response_of_v2(predictions, payload, self.name, self.version, limit)
        return predictions_of_v1(predictions, self.name, self.version)

    def _read(self, payload: Any) -> tuple[list[Review], list[Tokens]]:
        """The reviews of a request, and the tokens of those that are given as texts.

        Raises:
            UserError: If the request is not of the protocol's form.
        """
        is_v2 = isinstance(payload, InferRequest)
        reviews = reviews_of_v2(payload) if is_v2 else reviews_of_v1(payload)
        texts = [review.text for review in reviews if not review.review_id]
        return reviews, self._predictor.tokenise(texts)

    async def _with_looked_up(self, reviews: list[Review], made: list[Tokens]) -> list[Tokens]:
        """Tokens of each review: those made from texts, and those read by their keys.

        Raises:
            UserError: If a key is not in the feature store, or no store is open.
        """
        keys = [review.review_id for review in reviews if review.review_id]
        if not keys:
            return made
        if self._lookup is None:
            raise UserError("this server reads no feature store; send the review's text")
        found = await asyncio.get_running_loop().run_in_executor(
            self._side_work, self._lookup.tokens, keys
        )
        for key, tokens in zip(keys, found, strict=True):
            if tokens is None:
                raise UserError(f"the feature store holds no review {key!r}; send its text")
        of_texts, of_keys = iter(made), iter(found)
        return [next(of_keys if review.review_id else of_texts) for review in reviews]

    def _record(self, reviews: list[Review], predictions: Any, queue_seconds: float) -> None:
        """Let metrics, access log and payload log know of an answer."""
        self.metrics.predicted(
            predictions.classes, predictions.probabilities, predictions.truncated
        )
        request = current_request.get()
        texts = [review.text or f"review_id={review.review_id}" for review in reviews]
        if request is not None:
            request.reviews = len(reviews)
            request.queue_seconds = queue_seconds
            request.texts = texts
        if self._payload_log is not None:
            self._payload_log.record(
                request.request_id if request else "",
                texts,
                predictions.classes,
                predictions.probabilities,
                predictions.truncated,
            )

    def get_input_types(self) -> list[dict[str, Any]]:
        """The tensors of a v2 request, for the model's metadata."""
        return V2_INPUTS

    def get_output_types(self) -> list[dict[str, Any]]:
        """The tensors of a v2 answer, for the model's metadata."""
        return V2_OUTPUTS

    def stop(self) -> None:
        """End the threads."""
        if self._predictor is not None:
            self._batcher.close()
        self._side_work.shutdown(wait=False)
        super().stop()
