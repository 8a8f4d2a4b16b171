"""What was in production at a time, and which decisions put it there."""

from attrs import frozen

from charkha.storage.ledger import KILL, REVIVE, Decision, Ledger, Role


@frozen(kw_only=True)
class Post:
    """One version at work. since_us: from when it has this role and share. by: the decision that gave it them."""

    version: str
    role: Role
    share: float
    since_us: int
    by: Decision


@frozen(kw_only=True)
class Standing:
    """What a model was served by at `time_us`. posts: champion first; none where it was not deployed.

    killed: the decision that put it on its fallback, if it was. decided: the newest decision of the model by then.
    """

    model: str
    time_us: int
    generation: int
    posts: tuple[Post, ...]
    killed: Decision | None
    decided: Decision | None


def standing_at(ledger: Ledger, model: str, time_us: int) -> Standing:
    """Return what was in production at a time, by what the ledger says; a decision counts from its own time on."""
    decisions = [each for each in ledger.decisions(model) if each.time_us <= time_us]
    made = {each.generation: each for each in decisions if each.generation is not None}
    known = [each for each in ledger.deployments(model) if each.generation in made]
    posts: dict[tuple[str, Role, float], Post] = {}
    for deployment in known:
        by = made[deployment.generation]
        kept = {}
        for each in deployment.assignments:
            key = (each.version, each.role, each.share)
            kept[key] = posts.get(key) or Post(
                version=each.version, role=each.role, share=each.share, since_us=deployment.since_us, by=by
            )
        posts = kept
    switched = [each for each in decisions if each.action in (KILL, REVIVE)]
    return Standing(
        model=model,
        time_us=time_us,
        generation=known[-1].generation if known else 0,
        posts=tuple(sorted(posts.values(), key=lambda post: ("champion", "challenger", "shadow").index(post.role))),
        killed=switched[-1] if switched and switched[-1].action == KILL else None,
        decided=decisions[-1] if decisions else None,
    )
