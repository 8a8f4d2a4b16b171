"""What holds a training up though it is due: a version on trial, or a source of which rows are missing."""

from collections.abc import Collection

from charkha.operations.situation import Situation


def is_held_up(situation: Situation) -> bool:
    """Say whether nothing is trained beside a champion now: while a version is on trial, or a source is stale."""
    return what_holds_up(situation) is not None


def what_holds_up(situation: Situation) -> tuple[str, str] | None:
    """Return what a training waits for, in a word ("trial", "source") and in words; None where nothing holds it up."""
    trial = situation.progress.trial if situation.progress else None
    if trial is not None or situation.contest is not None:
        version = trial.version if trial else situation.contest.challenger if situation.contest else ""
        return "trial", f"{version} is on trial, and the next is trained beside whoever is champion after that"
    # Rows that have not come would be missing from the dataset: what is broken is mended before it is learnt from.
    stale = [each.message for each in situation.findings if each.kind == "freshness" and each.significant]
    return ("source", f"rows to learn from have not come: {'; '.join(stale)}") if stale else None


def being_answered(situation: Situation) -> Collection[str]:
    """Return the kinds of trigger without an identity of their own that the last training is about to answer.

    A fall lasts until another version serves, so it is still there while the one that was made for it is on trial.
    """
    training = situation.training
    if training is None or training.state in ("failed", "cancelled"):
        return ()
    fate = next((each.fate for each in situation.past if each.run_key == training.run_key), "open")
    asked = training.evidence.get("triggers")
    return {"fall"} if fate == "open" and isinstance(asked, list | tuple) and "fall" in asked else ()
