"""KServe's server around the predictor."""

import asyncio
import logging
import logging.config
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from kserve import InferRequest, InferResponse, Model, ModelServer
from kserve.errors import InvalidInput, ModelNotFound
from kserve.model_server import app
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.rest.v2_datamodels import InferenceRequest
from pydantic import ValidationError

from components.contracts.errors import UserError
from components.serving.predictor import Predictor
from components.serving.protocol import (
    V2_INPUTS,
    V2_OUTPUTS,
    predictions_of_v1,
    response_of_v2,
    texts_of_v1,
    texts_of_v2,
)

logger = logging.getLogger(__name__)


class SentimentModel(Model):
    """The predictor as a KServe model.

    The forward pass runs on a thread of its own, so that the event loop keeps answering probes.

    Attributes:
        version: Version in the registry, told in every answer.
    """

    def __init__(self, name: str, version: str, model_folder: str | Path) -> None:
        """Remember what to load.

        Args:
            name: Name in the URLs.
            version: Version in the registry.
            model_folder: Folder that `load` reads.
        """
        super().__init__(name)
        self.version = version
        self._folder = Path(model_folder)
        self._predictor: Predictor | None = None
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="predict")

    def load(self) -> bool:
        """Load the folder and predict once, so that the first request finds a warm model.

        Raises:
            UserError: If the folder is not a whole model folder.
        """
        self._predictor = Predictor(self._folder)
        self._predictor.predict(["warm"])
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
        """
        is_v2 = isinstance(payload, InferRequest)
        try:
            texts = texts_of_v2(payload) if is_v2 else texts_of_v1(payload)
        except UserError as error:
            raise InvalidInput(str(error)) from None
        if self._predictor is None:
            raise RuntimeError("load() has not been called")
        predictions = await asyncio.get_running_loop().run_in_executor(
            self._worker, self._predictor.predict, texts
        )
        if is_v2:
            return response_of_v2(predictions, payload, self.name, self.version)
        return predictions_of_v1(predictions, self.name, self.version)

    def get_input_types(self) -> list[dict[str, Any]]:
        """The tensors of a v2 request, for the model's metadata."""
        return V2_INPUTS

    def get_output_types(self) -> list[dict[str, Any]]:
        """The tensors of a v2 answer, for the model's metadata."""
        return V2_OUTPUTS

    def stop(self) -> None:
        """End the worker thread."""
        self._worker.shutdown(wait=False, cancel_futures=True)
        super().stop()


class ForgivingDataPlane(DataPlane):
    """KServe's decoding, with the client's mistakes answered by 400 and JSON taken as JSON."""

    def decode(
        self,
        body: Any,
        headers: Any,
        protocol_version: str = "v1",
        model_name: str | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Decode a request body; v2 JSON is read also where its content type is missing.

        Raises:
            InvalidInput: If the body cannot be decoded.
        """
        try:
            if (
                protocol_version == "v2"
                and isinstance(body, bytes)
                and "inference-header-content-length" not in headers
            ):
                body = InferenceRequest.model_validate_json(body)
            return super().decode(body, headers, protocol_version, model_name)
        except InvalidInput:
            raise
        except ValidationError as error:
            raise InvalidInput(_in_words(error.errors())) from None
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise InvalidInput(f"the request cannot be read: {reason}") from None

    async def model_metadata(self, model_name: str) -> dict[str, Any]:
        """A model's metadata, with the version that it serves."""
        metadata = await super().model_metadata(model_name)
        model = self.get_model_from_registry(model_name)
        version = getattr(model, "version", "")
        return {**metadata, "platform": "pytorch", "versions": [version] if version else None}


def _in_words(errors: Sequence[Mapping[str, Any]]) -> str:
    """The first thing that is wrong with a v2 request, in one sentence."""
    error = errors[0]
    place = ".".join(
        str(part) for part in error["loc"] if part not in ("body", InferenceRequest.__name__)
    )
    return f"the request cannot be read: {place + ': ' if place else ''}{error['msg']}"


async def _answer_unreadable(_: Request, error: RequestValidationError) -> JSONResponse:
    """Status 400, like all else that the client did wrong, where FastAPI would say 422."""
    return JSONResponse({"error": _in_words(error.errors())}, status_code=400)


class SentimentServer(ModelServer):
    """KServe's server on a chosen address, which says when and where it is ready."""

    def __init__(self, host: str, port_file: Path | None = None, **options: Any) -> None:
        """Set up the server.

        Args:
            host: Address to listen on; `127.0.0.1` is this machine only.
            port_file: Gets the port once the server is ready, for callers that ask for port 0.
            options: Of KServe's `ModelServer`.
        """
        super().__init__(**options)
        self._host = host
        self._port_file = port_file
        self.dataplane = ForgivingDataPlane(model_registry=self.registered_models)

    def setup_event_loop(self) -> None:
        """Point KServe's REST server to the address, for which it has no option."""
        super().setup_event_loop()
        app.add_exception_handler(RequestValidationError, _answer_unreadable)
        self._rest_server.config.host = self._host
        self.servers.append(self._announce())

    async def _announce(self) -> None:
        """Say where the server is ready, once it is."""
        server = self._rest_server._server
        while not server.started:
            if server.should_exit:
                return
            await asyncio.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        for name in self.registered_models.get_models():
            address = "localhost" if self._host in ("0.0.0.0", "127.0.0.1") else self._host  # noqa: S104
            logger.info("ready: http://%s:%d/v2/models/%s", address, port, name)
        if self._port_file is not None:
            draft = self._port_file.with_suffix(".draft")
            draft.write_text(str(port))
            draft.replace(self._port_file)


class _ClientMistakes(logging.Filter):
    """Drops KServe's stack traces of what clients did wrong: they are answered, not our errors."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        return not (kind and issubclass(kind, InvalidInput | ModelNotFound))


def configure_logging() -> None:
    """One line for each request, one when the server is ready, and errors; nothing else."""
    plain = {"format": "%(asctime)s %(levelname)s %(message)s"}
    access = {
        "()": "uvicorn.logging.AccessFormatter",
        "fmt": '%(asctime)s %(client_addr)s "%(request_line)s" %(status_code)s',
        "use_colors": False,
    }
    to_stderr = {"class": "logging.StreamHandler", "stream": "ext://sys.stderr"}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"plain": plain, "access": access},
            "filters": {"client_mistakes": {"()": _ClientMistakes}},
            "handlers": {
                "plain": {**to_stderr, "formatter": "plain", "filters": ["client_mistakes"]},
                "access": {**to_stderr, "formatter": "access"},
            },
            "root": {"level": "WARNING", "handlers": ["plain"]},
            "loggers": {
                "components": {"level": "INFO"},
                "kserve": {"level": "WARNING", "handlers": ["plain"], "propagate": False},
                "kserve.trace": {"level": "WARNING"},
                "uvicorn": {"level": "WARNING"},
                "uvicorn.access": {"level": "INFO", "handlers": ["access"], "propagate": False},
            },
        }
    )


def serve(
    model_folder: str | Path,
    *,
    model_name: str,
    model_version: str,
    host: str,
    http_port: int,
    port_file: Path | None = None,
    grpc_port: int = 0,
) -> None:
    """Serve a model folder until a signal ends the process.

    Args:
        model_folder: What training wrote.
        model_name: Name in the URLs.
        model_version: Version in the registry.
        host: Address to listen on.
        http_port: Port; 0 takes a free one.
        port_file: Gets the port once the server is ready.
        grpc_port: Port for gRPC; 0 leaves gRPC off.

    Raises:
        UserError: If the port is taken or the folder is not a whole model folder.
    """
    configure_logging()
    _check_port(host, http_port)
    model = SentimentModel(model_name, model_version, model_folder)
    model.load()
    server = SentimentServer(
        host,
        port_file,
        http_port=http_port,
        grpc_port=grpc_port or 8081,
        enable_grpc=grpc_port > 0,
        enable_latency_logging=False,
    )
    server.start([model])


def _check_port(host: str, port: int) -> None:
    """Find out early, and say in words, that a port cannot be had."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"cannot listen on {host} port {port} ({error.strerror}); give another port"
            ) from None
