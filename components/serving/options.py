"""Options of the model server: name, default, bounds and help of each stand once, here."""

from dataclasses import dataclass

from components.shared.machine.options import Options, option


@dataclass(frozen=True)
class ModelOptions(Options, called="server option"):
    """What is served."""

    model_name: str = option("review-sentiment", "name in the URLs")
    model_version: str = option(
        "", "version in the registry, part of every answer (default: $MODEL_VERSION)"
    )
    model_digest: str = option(
        "",
        "digest of the version's files in the registry; another folder is refused (default: "
        "$MODEL_DIGEST)",
    )
    signature_key: str = option(
        "",
        "public key (PEM file) whose owner must have signed the folder; unsigned ones are refused",
    )
    engine: str = option(
        "auto", "auto (the fastest that agrees with torch), torch, or one of the folder's engines"
    )
    features: bool = option(
        False, "answer by review_id too, from the feature store that the environment names"
    )
    explain: bool = option(
        False, "say at :explain which words an answer rests on; needs the extra `explaining`"
    )


@dataclass(frozen=True)
class Endpoint(Options, called="server option"):
    """Where the server listens and what it lets in."""

    host: str = option("127.0.0.1", "address to listen on; 127.0.0.1 is this machine only")
    http_port: int = option(8080, "0 takes a free port", 0, 65535)
    grpc_port: int = option(0, "0 leaves gRPC off", 0, 65535)
    port_file: str = option("", "file that gets the HTTP port once the server is ready")
    max_body_bytes: int = option(8 * 2**20, "largest request", 1, 2**31 - 1)
    page: bool = option(
        True,
        "a page to try the model on, at /; the runtime of a cluster says --no-page, and the "
        "service's server_arguments may say --page",
    )
    drain_seconds: int = option(30, "time for accepted requests after SIGTERM", 0, 86_400)


@dataclass(frozen=True)
class QueueLimits(Options, called="server option"):
    """How much work the server accepts."""

    batch_reviews: int = option(4, "most reviews in a forward pass", 1, 1024)
    max_queued_reviews: int = option(1024, "reviews that may wait", 1, 10**9)
    max_wait_seconds: float = option(
        2.0, "requests that would wait longer are refused with 503", 0.001, 3600
    )


@dataclass(frozen=True)
class LogOptions(Options, called="server option"):
    """What the server writes about requests."""

    payload_log: str = option("", "folder or URI that gets every answer as Parquet")
    keep_texts: bool = option(
        False,
        "keep the texts in the payload log, with personal data masked (docs/personal-data.md)",
    )
    no_access_log: bool = option(False, "write no line for each request")
