"""The server's own log: one JSON object a line, on standard error."""

import logging
from typing import Any

import msgspec

from charkha.clock import to_iso

# What a line says of the call that it is about, where it is about one.
_OF_CALL = ("request_id", "trace_id")


class JsonLines(logging.Formatter):
    """Writes time, level, logger, message and, where there are such, the call's ids and the trace of the error."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line of JSON."""
        line = {
            "time": to_iso(int(record.created * 1e6)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        line |= {name: value for name in _OF_CALL if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def log_settings(level: str = "INFO") -> dict[str, Any]:
    """Return the settings for `logging.config.dictConfig`: Charkha from `level` on, the HTTP server's own warnings."""
    loggers = {
        "charkha": {"handlers": ["lines"], "level": level, "propagate": False},
        "_granian": {"handlers": ["lines"], "level": "WARNING", "propagate": False},
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonLines}},
        "handlers": {"lines": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
        "loggers": loggers,
    }
