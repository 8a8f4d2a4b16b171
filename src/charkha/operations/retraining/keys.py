"""Under which keys updates are made: told from trainings by them, whoever has asked for one."""

_UPDATE = "update"


def update_key(model: str, number: int) -> str:
    """Return the key of the operator's n-th update of a model, from 1."""
    return f"{model}/{_UPDATE}/{number}"


def by_hand_key(model: str, when: str, *, updates: bool) -> str:
    """Return the key of what a person trains, or updates, at a time."""
    return f"{model}/{_UPDATE}/by-hand/{when}" if updates else f"{model}/by-hand/{when}"


def is_of_update(run_key: str) -> bool:
    """Say whether a run goes on from a version, and is no training anew."""
    return run_key.split("/")[1:2] == [_UPDATE]
