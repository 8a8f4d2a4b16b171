"""How a model is watched and retrained, what answers in its place, and what it may use."""

from typing import Literal

from attrs import field, frozen

from charkha.spec.durations import parse_duration


@frozen(kw_only=True)
class Retrain:
    """When the operator trains a challenger, and what that may cost.

    on_fall: when the primary metric has fallen significantly below what the champion showed when it was tested.
    on_diagnosis: when an incident that new data help with is open, or was not long ago.
    every: also on a schedule, such as "30d".
    new_labels: also when so many labels have become known since the last training.
    update: also go on learning, once so often, from the rows that have matured since the champion's newest one and
        from these alone, such as "1d"; of estimators that can, such as `ck.OnlineLinear`. No training in this.
    update_held_out: an update does not learn from the newest rows of this length, but is calibrated on the older half
        and tested on the newer; as long as the split has it unless given. Shorter, it follows sooner.
    cooldown: the least time between two trainings.
    window: train on the newest rows of this length only; all of them unless given.
    half_life: a row that is older by this much counts half as much; all rows count the same unless given.
    budget_cpu_hours, budget_inr, budget_trainings: what trainings may use within `budget_period`, those by hand too;
        without bound unless given.
    inr_per_cpu_hour: what an hour of a processor costs; needed for `budget_inr`. That of the model's `ck.Prices` unless
        given, where these are in INR.
    inr_per_cost: what one unit of `ck.Costs` is worth; then a training that gains less than it costs is refused.
    horizon: over which a gain is counted.
    """

    on_fall: bool = True
    on_diagnosis: bool = True
    every: str | None = None
    new_labels: int | None = None
    update: str | None = None
    update_held_out: str | None = None
    cooldown: str = "14d"
    window: str | None = None
    half_life: str | None = None
    budget_cpu_hours: float | None = None
    budget_inr: float | None = None
    budget_trainings: int | None = None
    budget_period: str = "30d"
    inr_per_cpu_hour: float | None = None
    inr_per_cost: float | None = None
    horizon: str = "30d"


@frozen(kw_only=True)
class Monitors:
    """What is watched on every model, and from when it is worth a finding.

    window: performance and drift are measured over the newest window of this length.
    psi: population stability index of a feature or the score above which it has drifted (0.25: the bank convention).
    null_rise: rise of a feature's null share over its share in training.
    max_source_age: source name → age of its newest known row above which it is stale.
    skew_sample: of so many predictions the features are recomputed, once a day of the champion's, and of a shadow's
        before it is promoted; 0 for none.
    """

    window: str = "28d"
    psi: float = 0.25
    null_rise: float = 0.1
    max_source_age: dict[str, str] = field(factory=dict)
    skew_sample: int = 300


@frozen(kw_only=True)
class Fallback:
    """What answers where the model cannot, or had better not; marked in the answer, and in the log.

    That is where the state cannot be read, the model fails or is killed (`charkha kill`), or the client's deadline has
    passed; and where the model abstains, by `max_missing` and `max_source_age`. Rules that hold go on deciding.

    decision, score: what is answered where no rule holds; null where they are not given.
    previous: whether the champion before answers first, if it can; it does not where the features are at fault.
    max_missing: abstain on rows of whose features from views a larger share than this (0 to 1) is null.
    max_source_age: abstain while the newest known row of a source is older: source name → duration.
    """

    decision: bool | None = None
    score: float | None = None
    previous: bool = False
    max_missing: float | None = None
    max_source_age: dict[str, str] = field(factory=dict)

    @property
    def max_source_age_us(self) -> dict[str, int]:
        """`max_source_age` in µs."""
        return {source: parse_duration(age) for source, age in self.max_source_age.items()}


@frozen(kw_only=True)
class LogPolicy:
    """What of predictions is kept, for how long, and what is answered while there is no room to log them.

    keep_days: predictions older than this are removed by `charkha log prune`, and by the operator. 400
        unless given, or as many as the operator looks back on, where labels come so late that these are more.
    on_full_disk: "refuse" answers 503 until there is room again; "serve_unlogged" goes on, and says so in each answer.
    features_share: of the rows whose features are logged, drawn by prediction id; monitors and proofs of features rest
        on these. Ids, times, requests, scores, decisions and rules are logged of all.
    """

    keep_days: int | None = None
    on_full_disk: Literal["refuse", "serve_unlogged"] = "refuse"
    features_share: float = 1.0


@frozen(kw_only=True)
class Budget:
    """What one training may use: its process is ended beyond."""

    train_minutes: float = 60.0
    train_memory_gb: float = 8.0
