"""What the model server says on its standard error: when it is ready, and errors in words."""

import logging
import logging.config

from kserve.errors import InvalidInput, ModelNotFound
from starlette.requests import ClientDisconnect

from components.serving.server.sentiment_model import Refusal

_NO_FAULT = (InvalidInput, ModelNotFound, Refusal, ClientDisconnect)


class _Answered(logging.Filter):
    """Drops stack traces of what is no fault of ours: clients' mistakes, refusals, who left."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        return not (kind and issubclass(kind, _NO_FAULT))


def configure_logging() -> None:
    """One line when the server is ready, and errors; requests have a log of their own."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(message)s"}},
            "filters": {"answered": {"()": _Answered}},
            "handlers": {
                "plain": {
                    "class": "logging.StreamHandler",
                    "stream": "ext://sys.stderr",
                    "formatter": "plain",
                    "filters": ["answered"],
                },
            },
            "root": {"level": "WARNING", "handlers": ["plain"]},
            "loggers": {
                "components": {"level": "INFO"},
                "kserve": {"level": "WARNING", "handlers": ["plain"], "propagate": False},
                "kserve.trace": {"level": "WARNING"},
                "uvicorn": {"level": "WARNING"},
                # Without a handler of its own, uvicorn makes no line for each request.
                "uvicorn.access": {"handlers": [], "propagate": False},
            },
        }
    )
