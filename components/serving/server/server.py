"""Start a model server over REST and gRPC, say when it is ready, and drain it at SIGTERM."""

import asyncio
import logging
import signal
from pathlib import Path

import uvicorn
import uvloop
from grpc import aio
from grpc_interceptor.exceptions import GrpcException
from kserve.errors import InvalidInput, ModelNotFound
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.servicer import InferenceServicer

from components.serving.observing.observer import ObservedApp, ObservedCalls, Observer
from components.serving.options import Endpoint, LogOptions, ModelOptions, QueueLimits
from components.serving.server.app import rest_application
from components.serving.server.connection import BoundedConnection
from components.serving.server.data_plane import ClosedRepository, ForgivingDataPlane
from components.serving.server.explaining import Explaining
from components.serving.server.sentiment_model import SentimentModel
from components.shared.machine.ports import free_port
from components.shared.records.known_words import read_known_words
from components.shared.records.model_folder import check_model_folder, read_class_names
from components.shared.records.signature import check_signature

logger = logging.getLogger(__name__)

_KEEP_ALIVE_SECONDS = 65
"""As in KServe: longer than a proxy keeps an idle connection."""


def serve(
    model_folder: str | Path,
    model_options: ModelOptions,
    endpoint: Endpoint,
    limits: QueueLimits,
    logs: LogOptions,
) -> None:
    """Serve a model folder until a signal ends the process.

    Raises:
        UserError: If a port is taken, the folder is incomplete, not what was registered or not
            signed as asked, or a log cannot be opened.
    """
    _configure_logging()
    folder = check_model_folder(model_folder, model_options.model_digest)
    if model_options.signature_key:
        check_signature(model_folder, model_options.signature_key)
    for port in filter(None, (endpoint.http_port, endpoint.grpc_port)):
        free_port(endpoint.host, port)
    name, version = model_options.model_name, model_options.model_version
    observer = Observer.opened(
        name,
        version,
        read_class_names(folder),
        logs=logs,
        known_words=read_known_words(folder),
    )
    try:
        model = SentimentModel(
            name,
            version,
            model_folder,
            engine=model_options.engine,
            features=model_options.features,
            limits=limits.to_dict(),
            on_batch=observer.metrics.batch,
            on_answer=observer.predicted,
        )
        observer.metrics.watch_queue(lambda: model.batcher.queued_reviews)
        if model_options.explain:
            model.explaining = Explaining(folder)
        try:
            uvloop.run(_serve(ForgivingDataPlane(model), endpoint, observer))
        finally:
            if model.explaining is not None:
                model.explaining.close()
    finally:
        observer.close()


async def _serve(data_plane: ForgivingDataPlane, endpoint: Endpoint, observer: Observer) -> None:
    """Answer REST and gRPC until a signal; what was accepted is answered first."""
    app = rest_application(
        data_plane,
        endpoint.max_body_bytes,
        page=endpoint.page,
        explains=data_plane.model.explaining is not None,
    )
    rest = uvicorn.Server(
        uvicorn.Config(
            ObservedApp(app, observer),
            host=endpoint.host,
            port=endpoint.http_port,
            http=BoundedConnection,
            ws="none",
            log_config=None,
            access_log=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=endpoint.drain_seconds,
        )
    )
    # uvicorn has handlers of its own while it serves, and sends itself the signals again once it
    # has ended: these keep the process alive until the logs are written.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, lambda *_: setattr(rest, "should_exit", True))
    grpc = await _started_grpc(data_plane, endpoint, observer) if endpoint.grpc_port else None

    async def announce() -> None:
        while not (rest.started or rest.should_exit):
            await asyncio.sleep(0.02)
        if rest.started:
            port = rest.servers[0].sockets[0].getsockname()[1]
            anywhere = ("0.0.0.0", "127.0.0.1")  # noqa: S104
            host = "localhost" if endpoint.host in anywhere else endpoint.host
            logger.info("ready: http://%s:%d/v2/models/%s", host, port, data_plane.model.name)
            if endpoint.port_file:
                draft = Path(f"{endpoint.port_file}.draft")
                draft.write_text(str(port))
                draft.replace(endpoint.port_file)

    async def drain_grpc() -> None:
        """Beside REST, not after it."""
        while not rest.should_exit:
            await asyncio.sleep(0.1)
        if grpc is not None:
            await grpc.stop(endpoint.drain_seconds)

    await asyncio.gather(rest.serve(), announce(), drain_grpc())


async def _started_grpc(
    data_plane: ForgivingDataPlane, endpoint: Endpoint, observer: Observer
) -> aio.Server:
    """KServe's gRPC service, observed."""
    limit = endpoint.max_body_bytes
    server = aio.server(
        interceptors=(ObservedCalls(observer), ExceptionToStatusInterceptor()),
        options=[
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", limit),
        ],
    )
    servicer = InferenceServicer(data_plane, ClosedRepository(data_plane.model_registry))
    grpc_predict_v2_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    server.add_insecure_port(f"{endpoint.host}:{endpoint.grpc_port}")
    await server.start()
    return server


def _configure_logging() -> None:
    """On standard error, a line when the server is ready, and errors; requests have their log."""
    handler = logging.StreamHandler()
    handler.addFilter(_is_our_fault)
    plain = "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(level=logging.WARNING, format=plain, handlers=[handler], force=True)
    logging.getLogger("components").setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # its warnings are of clients' mistakes


def _is_our_fault(record: logging.LogRecord) -> bool:
    """Whether to log a record: KServe logs clients' mistakes and refusals as errors, too."""
    kind = record.exc_info[0] if record.exc_info else None
    return not (kind and issubclass(kind, InvalidInput | ModelNotFound | GrpcException))
