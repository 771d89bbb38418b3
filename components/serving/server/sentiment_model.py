"""The predictor as a KServe model: a request in, tokens, a shared forward pass, an answer out."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from grpc import StatusCode
from grpc_interceptor.exceptions import GrpcException
from kserve import InferRequest, InferResponse, Model
from kserve.errors import InvalidInput, ModelNotFound

from components.serving.model.batching import Batcher, OverloadedError
from components.serving.model.predictor import FeatureLookup, Predictions, Predictor, Tokens
from components.serving.observing.payload_rows import Asked
from components.serving.server.explaining import Explaining
from components.serving.server.protocol import (
    V2_INPUTS,
    V2_OUTPUTS,
    Review,
    explanations_of_v1,
    predictions_of_v1,
    response_of_v2,
    reviews_of_v1,
    reviews_of_v2,
    texts_to_explain,
)
from components.shared.machine.errors import UserError

_INLINE_BYTES = 16_384
"""Requests of at most this size are read and tokenised in the event loop; larger ones would hold it
up, and are read in a thread."""


class Refusal(GrpcException):
    """A request that finds no room: status 503 with Retry-After, RESOURCE_EXHAUSTED in gRPC."""

    status_code = StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, overloaded: OverloadedError) -> None:
        """Say in how many seconds to come again."""
        super().__init__(str(overloaded), self.status_code)
        self.retry_after = overloaded.retry_after


class SentimentModel(Model):
    """The model of one folder behind KServe's protocols, ready to answer once it is made.

    `explaining` is what explains its answers; None where that is not switched on.
    """

    explaining: Explaining | None = None

    def __init__(
        self,
        name: str,
        version: str,
        model_folder: str | Path,
        *,
        engine: str = "auto",
        features: bool = False,
        limits: Mapping[str, Any] | None = None,
        on_batch: Callable[[int, Sequence[float]], None] = lambda *batch: None,
        on_answer: Callable[[list[Asked], Predictions, float], None] = lambda *answer: None,
    ) -> None:
        """Load the folder and predict once, so that the first request finds a warm model.

        Name, version, engine and features are those of `ModelOptions`; limits and `on_batch` are
        the `Batcher`'s. `on_answer` gets what was asked, what was predicted for it, and the longest
        time in seconds that one of the texts waited.

        Raises:
            UserError: If the folder is incomplete or the feature store cannot be opened.
        """
        super().__init__(name)
        self.version = version
        predictor = self._predictor = Predictor(model_folder, engine)
        predictor.predict(["warm"])
        self._lookup = (
            FeatureLookup(predictor.feature_service, predictor.max_tokens) if features else None
        )
        self.engine_name = predictor.engine.name
        self.class_names = predictor.class_names
        classes = len(predictor.class_names)
        self.batcher = Batcher(
            predictor.engine, **(limits or {}), classes=classes, on_batch=on_batch
        )
        self._on_answer = on_answer
        self._side_work = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenise-and-look")
        self.ready = True

    async def predict(
        self,
        payload: Any,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> dict[str, Any] | InferResponse:
        """Answer a request in its own protocol: v1 (a mapping or bytes) or v2 (`InferRequest`).

        Raises:
            InvalidInput: If the client sent something else (400).
            ModelNotFound: If the client asks for another version (404).
            Refusal: If there is more to do than can be done in time (503).
        """
        is_v2 = isinstance(payload, InferRequest)
        if is_v2 and payload.model_version not in (None, "", self.version):
            raise ModelNotFound(f"{self.name} version {payload.model_version}")
        length = (headers or {}).get("content-length", "")  # In gRPC, whatever the client says.
        try:
            if length.isdecimal() and len(length) < 10 and int(length) <= _INLINE_BYTES:
                reviews, made = self._read(payload)
            else:
                reviews, made = await self._in_thread(self._read, payload)
            tokens = await self._with_looked_up(reviews, made)
        except UserError as error:
            raise InvalidInput(str(error)) from None
        try:
            answer = await self.batcher.logits([ids for ids, _ in tokens])
        except OverloadedError as error:
            raise Refusal(error) from None
        predictions = self._predictor.decide(answer.logits, [cut for _, cut in tokens])
        asked = [
            Asked(*review, None if isinstance(ids, str) else len(ids))
            for review, (ids, _) in zip(reviews, tokens, strict=True)
        ]
        self._on_answer(asked, predictions, answer.queue_seconds)
        if is_v2:
            limit = self._predictor.max_tokens
            return response_of_v2(predictions, payload, self.name, self.version, limit)
        return predictions_of_v1(predictions, self.name, self.version)

    async def explain(self, payload: Any, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """Answer a v1 request, and say of each answer which words it rests on.

        The answers are those of `predict`, by the engine that serves.

        Raises:
            InvalidInput: If the client sent something else, or too many reviews (400).
            NotImplementedError: If explanations are not switched on.
            Refusal: If there is more to do than can be done in time (503).
        """
        if self.explaining is None:
            raise NotImplementedError("explanations are not switched on")
        try:
            texts = texts_to_explain(payload)
        except UserError as error:
            raise InvalidInput(str(error)) from None
        tokens = await self._in_thread(self._predictor.tokenise, texts)
        try:
            answer = await self.batcher.logits([ids for ids, _ in tokens])
            predictions = self._predictor.decide(answer.logits, [cut for _, cut in tokens])
            explained = await self.explaining.explain(texts, predictions.classes.tolist())
        except OverloadedError as error:
            raise Refusal(error) from None
        return explanations_of_v1(predictions, explained, self.name, self.version)

    def _read(self, payload: Any) -> tuple[list[Review], list[Tokens]]:
        """The reviews of a request, and the tokens of those that are given as texts."""
        is_v2 = isinstance(payload, InferRequest)
        reviews = reviews_of_v2(payload) if is_v2 else reviews_of_v1(payload)
        texts = [review.text for review in reviews if review.text]
        return reviews, self._predictor.tokenise(texts)

    async def _with_looked_up(self, reviews: list[Review], made: list[Tokens]) -> list[Tokens]:
        """Tokens of each review: those made from texts, and those read by their keys."""
        keys = [review.review_id for review in reviews if not review.text]
        if not keys:
            return made
        if self._lookup is None:
            raise UserError("this server reads no feature store; send the review's text")
        stored = await self._in_thread(self._lookup.tokens, keys)
        for key, tokens in zip(keys, stored, strict=True):
            if tokens is None:
                raise UserError(f"the feature store holds no review {key!r}; send its text")
        of_texts, of_keys = iter(made), iter(stored)
        return [next(of_texts if review.text else of_keys) for review in reviews]

    async def _in_thread(self, work: Callable[[Any], Any], argument: Any) -> Any:
        """Do work that would hold up the event loop, in the one thread for it."""
        return await asyncio.get_running_loop().run_in_executor(self._side_work, work, argument)

    def get_input_types(self) -> list[dict[str, Any]]:
        """The tensors of a v2 request, for the model's metadata."""
        return V2_INPUTS

    def get_output_types(self) -> list[dict[str, Any]]:
        """The tensors of a v2 answer, for the model's metadata."""
        width = {"probabilities": [-1, self.batcher.classes]}
        return [one | {"shape": width.get(one["name"], one["shape"])} for one in V2_OUTPUTS]

    def stop(self) -> None:
        """End the threads."""
        self.batcher.close()
        self._side_work.shutdown(wait=False)
        if self.explaining is not None:
            self.explaining.close()
        super().stop()
