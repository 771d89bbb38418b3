"""KServe's server around the model."""

import asyncio
import logging
import socket
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from grpc import aio
from kserve import ModelServer
from kserve.model_server import app
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.server import GRPCServer
from kserve.protocol.grpc.servicer import InferenceServicer

from components.serving.observing.access_log import AccessLog
from components.serving.observing.observed_app import ObservedApp
from components.serving.observing.observed_calls import ObservedCalls
from components.serving.observing.payload_log import PayloadLog
from components.serving.server.data_plane import (
    ClosedRepository,
    ForgivingDataPlane,
    answer_unreadable,
)
from components.serving.server.log_settings import configure_logging
from components.serving.server.routes import add_inference_routes
from components.serving.server.sentiment_model import Refusal, SentimentModel, ServingOptions
from components.shared.machine.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Endpoint:
    """Where the server listens and what it lets in.

    Attributes:
        host: Address to listen on; `127.0.0.1` is this machine only.
        http_port: Port; 0 takes a free one.
        grpc_port: Port for gRPC; 0 leaves gRPC off.
        port_file: Gets the HTTP port once the server is ready, for callers that ask for port 0.
        max_body_bytes: Largest request.
        drain_seconds: Longest time that accepted requests have to be answered after SIGTERM.
    """

    host: str = "127.0.0.1"
    http_port: int = 8080
    grpc_port: int = 0
    port_file: Path | None = None
    max_body_bytes: int = 8 * 2**20
    drain_seconds: int = 30


async def _answer_refusal(_: Request, refusal: Refusal) -> JSONResponse:
    """Status 503, and when to come again."""
    return JSONResponse(
        {"error": refusal.details},
        status_code=503,
        headers={"Retry-After": str(refusal.retry_after)},
    )


class SentimentServer(ModelServer):
    """KServe's server on a chosen address, observed, which says when and where it is ready."""

    def __init__(
        self, model: SentimentModel, endpoint: Endpoint, access_log: AccessLog | None = None
    ) -> None:
        """Set up the server.

        Args:
            model: Loaded model to serve.
            endpoint: Where to listen and what to let in.
            access_log: Gets a line for each request.
        """
        super().__init__(
            http_port=endpoint.http_port,
            grpc_port=endpoint.grpc_port or 8081,
            enable_grpc=False,  # KServe's own gRPC server cannot be observed; see below.
            enable_latency_logging=False,
            grace_period=endpoint.drain_seconds,
        )
        self._model = model
        self._endpoint = endpoint
        self._access_log = access_log
        self.dataplane = ForgivingDataPlane(model_registry=self.registered_models)
        self.model_repository_extension = ClosedRepository(self.registered_models)

    def serve(self) -> None:
        """Serve until a signal ends the process; what was accepted is answered first."""
        uvloop.install()
        asyncio.set_event_loop(asyncio.new_event_loop())  # KServe asks for one before it runs one.
        self.start([self._model])

    def stop(self, sig: int) -> None:
        """Let uvicorn end, and gRPC with it; the model stays until the last answer.

        KServe would unload it at once, under the calls that still wait for it. uvicorn, which has a
        signal handler of its own, calls this once it has ended.
        """
        self._rest_server._server.should_exit = True

    def setup_event_loop(self) -> None:
        """Complete KServe's servers with what it has no options for."""
        super().setup_event_loop()
        app.add_exception_handler(RequestValidationError, answer_unreadable)
        app.add_exception_handler(Refusal, _answer_refusal)
        add_inference_routes(app, self.dataplane)
        # KServe's timing of each request is logged below the level we show, and not for free.
        self._rest_server._add_middlewares = lambda app: None
        config = self._rest_server.config
        config.host = self._endpoint.host
        config.access_log = False
        config.app = ObservedApp(
            app,
            self._model.metrics,
            self._access_log,
            max_body_bytes=self._endpoint.max_body_bytes,
        )
        if self._endpoint.grpc_port:
            self._grpc_server = _ObservedGRPCServer(
                self._endpoint,
                ObservedCalls(self._model.metrics, self._access_log),
                self.dataplane,
                self.model_repository_extension,
            )
            self.servers += [self._grpc_server.start(), self._end_grpc_with_rest()]
        self.servers.append(self._announce())

    async def _end_grpc_with_rest(self) -> None:
        """Drain both at once, not one after the other."""
        while not self._rest_server._server.should_exit:
            await asyncio.sleep(0.1)
        await self._grpc_server.stop()

    async def _announce(self) -> None:
        """Say where the server is ready, once it is."""
        server = self._rest_server._server
        while not server.started:
            if server.should_exit:
                return
            await asyncio.sleep(0.02)
        if self._grpc_server is not None:
            await self._grpc_server.started.wait()
        host = self._endpoint.host
        port = server.servers[0].sockets[0].getsockname()[1]
        address = "localhost" if host in ("0.0.0.0", "127.0.0.1") else host  # noqa: S104
        logger.info("ready: http://%s:%d/v2/models/%s", address, port, self._model.name)
        if self._endpoint.port_file is not None:
            draft = self._endpoint.port_file.with_suffix(".draft")
            draft.write_text(str(port))
            draft.replace(self._endpoint.port_file)


class _ObservedGRPCServer(GRPCServer):
    """KServe's gRPC service on a chosen address, with our interceptor before KServe's."""

    def __init__(
        self, endpoint: Endpoint, observed: ObservedCalls, data_plane: Any, repository: Any
    ) -> None:
        super().__init__(
            endpoint.grpc_port,
            data_plane,
            repository,
            kwargs={},
            grace_period=endpoint.drain_seconds,
        )
        self._endpoint = endpoint
        self._observed = observed
        self.started = asyncio.Event()

    async def start(self, max_workers: int = 1) -> None:
        """Serve until stopped."""
        limit = self._endpoint.max_body_bytes
        self._server = aio.server(
            futures.ThreadPoolExecutor(max_workers),
            interceptors=(self._observed, ExceptionToStatusInterceptor()),
            options=[
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", limit),
            ],
        )
        grpc_predict_v2_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(
            InferenceServicer(self._data_plane, self._model_repository_extension), self._server
        )
        self._server.add_insecure_port(f"{self._endpoint.host}:{self._port}")
        await self._server.start()
        self.started.set()
        await self._server.wait_for_termination()


def serve(
    model_folder: str | Path,
    *,
    model_name: str,
    model_version: str,
    endpoint: Endpoint,
    options: ServingOptions,
    payload_uri: str = "",
    keep_texts: bool = False,
    log_requests: bool = True,
) -> None:
    """Serve a model folder until a signal ends the process.

    Args:
        model_folder: What training wrote.
        model_name: Name in the URLs.
        model_version: Version in the registry.
        endpoint: Where to listen and what to let in.
        options: How to serve the model.
        payload_uri: Folder at any fsspec URI that gets every answer as Parquet; '' keeps none.
        keep_texts: Whether payload and access log hold the texts of the reviews.
        log_requests: Whether each request gets a line on standard output.

    Raises:
        UserError: If a port is taken or the folder is not a whole model folder.
    """
    configure_logging()
    for port in filter(None, (endpoint.http_port, endpoint.grpc_port)):
        _check_port(endpoint.host, port)
    payload_log = access_log = model = None
    try:
        if payload_uri:
            payload_log = PayloadLog(
                payload_uri,
                model_name=model_name,
                model_version=model_version,
                keep_texts=keep_texts,
                dropped=lambda rows: model.metrics.payloads_dropped(rows),
            )
        if log_requests:
            access_log = AccessLog(model_version, with_texts=keep_texts)
        model = SentimentModel(model_name, model_version, model_folder, options, payload_log)
        model.load()
        SentimentServer(model, endpoint, access_log).serve()
    finally:
        for log in (payload_log, access_log):
            if log is not None:
                log.close()


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
