"""What may pass by itself: a disk, a network or a database that is away for a while. Trying again can help then.

What a definition or its data are to blame for fails again in the same way, and so does memory that does not suffice:
the same rows ask for as much the next time.
"""

from sqlalchemy.exc import OperationalError

_PASSING = (OSError, OperationalError)
# Of the errors of the system, those that say that something is not as it was declared.
_LASTING = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)


def is_transient(error: BaseException) -> bool:
    """Say whether what has failed may succeed when it is tried again as it is."""
    told = getattr(error, "transient", None)
    if isinstance(told, bool):
        return told
    return isinstance(error, _PASSING) and not isinstance(error, _LASTING)
