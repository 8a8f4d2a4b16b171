"""What a failure is: errors, and the panics of Polars, which Python does not count among the errors.

A panic is an error that Polars did not foresee, such as a time beyond its calendar. It leaves Polars usable, but comes
as a BaseException, which `except Exception` lets pass: a request would have no answer, and a thread would end.
"""

from polars.exceptions import PanicException, PolarsError

# Where Polars evaluates what a user declared.
POLARS_FAILS = (PolarsError, PanicException)
# Where whatever fails is told, and the rest goes on. Not what ends a process or a task: KeyboardInterrupt and its like.
ANY_FAILS = (Exception, PanicException)


class Panicked(Exception):
    """A panic, as an error that can be kept and raised as others are."""


def as_error(failure: BaseException) -> Exception:
    """Return a failure as an error: itself, unless it is a panic."""
    return failure if isinstance(failure, Exception) else Panicked(str(failure))
