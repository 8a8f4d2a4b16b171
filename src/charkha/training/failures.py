"""How a training in a child process can fail, as seen by its parent.

TrainingFailed            it raised; `kind` and `detail` are those of the error
├── TrainingTimedOut      it took longer than its budget
├── TrainingOutOfMemory   it wanted more memory than its budget
└── TrainingCrashed       it ended without a word: killed, or by a fault of a library
"""

import signal

# Somebody, or the system when memory is short, has ended the process: it did not fail by itself.
KILLED_BY = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


class TrainingFailed(Exception):
    """A training that made no version. `run_key` begins the same training again; what it left on disk is used then.

    transient: what kept it may pass by itself.
    """

    def __init__(self, run_key: str, kind: str, detail: str, *, transient: bool = False) -> None:
        self.run_key, self.kind, self.detail, self.transient = run_key, kind, detail, transient
        super().__init__(f"training {run_key!r} failed: {kind}: {detail}")


class TrainingTimedOut(TrainingFailed):
    """A training that used up its time and was ended."""

    def __init__(self, run_key: str, minutes: float) -> None:
        super().__init__(
            run_key,
            "out of time",
            f"it took longer than its budget of {minutes:g} minutes and was ended. Raise Budget(train_minutes=…), "
            "shorten Retrain(window=…), or choose an estimator that learns faster",
        )


class TrainingOutOfMemory(TrainingFailed):
    """A training that asked for more memory than it may have."""

    def __init__(self, run_key: str, gigabytes: float) -> None:
        super().__init__(
            run_key,
            "out of memory",
            f"it asked for more than its budget of {gigabytes:g} GB. Raise Budget(train_memory_gb=…) if the machine "
            "has it, or shorten Retrain(window=…)",
        )


class TrainingCrashed(TrainingFailed):
    """A training whose process ended without a result. `status`: its exit status, negative for a signal."""

    def __init__(self, run_key: str, status: int, last_words: str) -> None:
        self.status = status
        said = f"; its last words: {last_words}" if last_words else ", without a word"
        detail = f"its process ended with {_describe(status)}{said}"
        super().__init__(run_key, "crashed", detail, transient=-status in KILLED_BY)


def _describe(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"
