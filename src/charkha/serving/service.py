"""The whole of serving without HTTP: the HTTP app and the replay both call this, so both run the same code."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import polars as pl
from attrs import evolve

from charkha.clock import Clock
from charkha.features.feed import Feed, Pushed
from charkha.features.online import Fetched, fetch
from charkha.features.plan import FeaturePlan
from charkha.features.progress import newest_known, newest_known_of
from charkha.features.quarantine import Gate
from charkha.features.request import Columns
from charkha.serving.answering import answered
from charkha.serving.beside import AtOnce, Beside
from charkha.serving.catching_up import CatchingUp
from charkha.serving.fallback import fallen_back
from charkha.serving.kill_switch import KillSwitch
from charkha.serving.labels import LabelLog, Told, UndeclaredMetric
from charkha.serving.lineup import LineUp
from charkha.serving.lineups import LineUps
from charkha.serving.observer import Observer, Quiet, Stages
from charkha.serving.policed_log import PolicedLog, taken_by_log
from charkha.serving.prediction_ids import first_id
from charkha.serving.prediction_log import Cause, LogPlace, PredictionLog
from charkha.serving.reasons import Reason, reasons_of
from charkha.serving.scoring import Answered, Answers, Question, Row, answers, batch_of, each_once, record
from charkha.serving.shadows import Shadows
from charkha.serving.standing import Standing
from charkha.serving.vitals import ModelVitals, Vitals, equal_part_of_memory
from charkha.serving.warming import warm
from charkha.spec.failures import ANY_FAILS, as_error
from charkha.spec.model import Model
from charkha.spec.project import Project
from charkha.storage.home import Home
from charkha.storage.online import OnlineReader


class UnknownModel(KeyError):
    """A model that the project does not define."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        super().__init__(f"expected one of the models {sorted(known)}, got {name!r}")

    def __str__(self) -> str:
        return str(self.args[0])


class NoChampion(Exception):
    """A model that no version serves; `problem` says why when a deployment could not be loaded, as clients are told."""

    def __init__(self, model: str, problem: str | None = None) -> None:
        self.model, self.problem = model, problem
        reason = f": {problem}" if problem else f". Train one: charkha train {model}"
        super().__init__(f"model '{model}': expected a champion to answer, but none serves{reason}")


class WrongRequest(ValueError):
    """A table of requests that lacks some of the model's request fields."""

    def __init__(self, model: str, missing: Sequence[str]) -> None:
        self.model, self.missing = model, missing
        super().__init__(f"model '{model}': expected its request fields as columns, {missing} are not there")


class Service:
    """Answers predictions, takes events and labels, and follows the ledger. Safe to use from several threads.

    beside: where shadows score what was answered; before the answer is returned unless given.
    partition: of the logs that this service writes. Two services may share one, at the price of reading what the other
    wrote before each append. replica: who is said to have answered: what stays the same when this process is replaced;
    the partition unless given. steady_ns: of `ModelVitals`.
    standing: who answers, and what is wrong. kill_switch: to be refreshed beside this.
    """

    def __init__(
        self,
        project: Project,
        home: Home,
        clock: Clock,
        partition: str,
        observer: Observer | None = None,
        *,
        beside: Beside | None = None,
        replica: str | None = None,
        steady_ns: Callable[[], int] | None = None,
    ) -> None:
        self.project = project
        self.replica = replica or partition
        self._home = home
        self._clock = clock
        self._observer: Observer = observer or Quiet()
        self._feed = Feed(project.sources, project.views, home.log, home.online, clock)
        self._state = CatchingUp(self._feed, project.root, clock)
        self._gate = Gate(project.sources, home, clock)
        self._predictions = {
            name: PolicedLog(PredictionLog(home.log, name, partition), model, self._observer)
            for name, model in project.models.items()
        }
        self._shadows = Shadows(beside or AtOnce(), self._observer, self._predictions, self.replica)
        memory = partial(equal_part_of_memory, len(project.models))
        opened = partial(ModelVitals, home.log, steady_ns=steady_ns, memory=memory)
        vitals = {name: opened(name, partition, self.replica, clock) for name in project.models}
        # Where time is simulated, the process does more than serve.
        self.vitals = Vitals(vitals, cpu_ns=time.process_time_ns if steady_ns else None)
        self._labels = {name: LabelLog(home.log, name, partition) for name in project.models}
        self._lineups = LineUps(project.models, home, self._observer, self._prepare)
        self.kill_switch = KillSwitch(home.ledger, self._lineups)
        self.standing = Standing(self._lineups, self._state, self._predictions)

    @property
    def observer(self) -> Observer:
        """Who is told what goes on."""
        return self._observer

    def refresh(self) -> bool:
        """Follow the ledger: kill and revive, load what it deploys now, swap it in; return whether anything changed.

        Calls in flight keep the line-up they began with. See `LineUps.refresh` and, for what went wrong, `standing`.
        While this loads, or waits for a disk, only who follows `kill_switch` as well hears of kills.
        """
        changed = [self.kill_switch.refresh(), self._lineups.refresh()]
        self._state.try_again()
        for log in self._predictions.values():
            log.look_again()
        return any(changed)

    def predict(self, model: str, requests: pl.DataFrame) -> Answers:
        """Answer requests; when it returns they are in the log.

        requests: one row each, with the model's request fields as columns. Raises UnknownModel, NoChampion,
        WrongRequest, and ValueError when there is no row; also whatever the champion raises.
        """
        return self.answer([self.ask(model, requests)])[0]

    def ask(self, model: str, requests: pl.DataFrame) -> Question:
        """Put the requests of a table; see `ask_rows`. Raises as `predict`."""
        lineup = self._lineup(model)
        if tuple(requests.columns) != lineup.fields:
            requests = _in_order(lineup, requests)
        return self.ask_rows(model, requests.rows())

    def ask_rows(
        self, model: str, rows: Sequence[Row], started_ns: int | None = None, cause: Cause | None = None
    ) -> Question:
        """Take requests in: fetch what the state holds for them now, from one snapshot, by those who answer now.

        rows: values in the order of the model's request fields, times as datetime in UTC. started_ns: when the first of
        them came, by `time.perf_counter_ns`; now unless given. cause: why the fallback is to answer them, if it is.
        Several questions answered together cost little more
        than one. Raises UnknownModel, NoChampion, LogFull, and ValueError when there is no row.
        """
        if not rows:
            raise ValueError(f"model '{model}': expected at least one request, got an empty table")
        started_ns = started_ns or time.perf_counter_ns()
        lineup = self._lineup(model)
        self._predictions[model].admit(len(rows))
        asked = dict(zip(lineup.fields, zip(*rows, strict=True), strict=True))
        begun_ns = time.perf_counter_ns()
        try:
            with self._home.online.read() as reader:
                # No row that the snapshot holds became known after the prediction, though the clock was set back.
                seen_us = newest_known(reader)
                time_us = max(self._clock.now(), seen_us)
                fetched = [_fetched(plan, reader, asked) for plan in lineup.plans]
                stale = lineup.oldest_us and _is_stale(reader, lineup.oldest_us, time_us)
        except ANY_FAILS as error:
            if lineup.fallback is None:
                raise
            nothing = [as_error(error)] * len(lineup.plans)
            return Question(lineup, rows, asked, self._clock.now(), None, started_ns, begun_ns, nothing)
        cause = cause or ("source_stale" if stale else None)
        return Question(lineup, rows, asked, time_us, seen_us, started_ns, begun_ns, fetched, cause)

    def answer(
        self,
        questions: Sequence[Question],
        *,
        falls_back: bool = True,
        before_log: Callable[[Sequence[Answers]], None] | None = None,
        staged: Callable[[Stages], None] | None = None,
    ) -> list[Answers]:
        """Answer questions that were put to one line-up; when it returns they are in the log, all of them or none.

        falls_back: whether the fallback answers where the model fails; not while some may be asked without the others.
        before_log: is told the answers when they are known and about to be logged; what it raises keeps them from it.
        staged: is told, as the observer is, in which stages they were answered; must neither raise nor wait.
        Where they could not be logged, they say so, if that is the model's policy. Raises LogFull where it is not,
        whatever the champion raises, and ValueError for questions to several line-ups.
        """
        found = self._answer(questions, falls_back=falls_back, before_log=before_log, staged=staged)
        return [each for each, _ in found]

    def answer_with_reasons(self, question: Question, most: int) -> tuple[Answers, list[list[Reason]]]:
        """Answer a question as `answer` does, and say of each row why: its `most` strongest reasons.

        Rows that a constant answered have none. Raises NotExplainable as well: then it was not answered.
        """
        lineup = question.lineup
        for player in lineup.answering:
            player.bundle.explainer  # noqa: B018  # raises before anything is logged
        ((found, scored),) = self._answer([question])
        return found, reasons_of(lineup, scored, len(question.rows), most, self._model(lineup.model).reasons)

    def _answer(
        self,
        questions: Sequence[Question],
        *,
        falls_back: bool = True,
        before_log: Callable[[Sequence[Answers]], None] | None = None,
        staged: Callable[[Stages], None] | None = None,
    ) -> list[tuple[Answers, Answered]]:
        if not questions:
            return []
        lineup = questions[0].lineup
        if any(question.lineup is not lineup for question in questions):
            raise ValueError("expected questions to one line-up. Answer those of each deployment apart")
        batch = batch_of(questions, (lineup.champion.plan,))
        features_ns = time.perf_counter_ns()
        scored = answered(batch, self._observer, falls_back=falls_back)
        ends = list(accumulate(len(question.rows) for question in questions))
        parts = [scored.of(slice(low, high)) for low, high in pairwise((0, *ends))] if len(questions) > 1 else [scored]
        firsts = [first_id(question.time_us) for question in questions]
        scored_ns = time.perf_counter_ns()
        took = [(scored_ns - question.started_ns) // 1000 for question in questions]
        log, answering = self._predictions[lineup.model], list(zip(questions, parts, firsts, strict=True))
        told = [answers(*each) for each in answering]
        if before_log is not None:
            before_log(told)
        who = [part.parts() for part in parts]
        logged = log.append(
            [
                record(question, own, first, us, self.replica)
                for question, own, first, us in zip(questions, who, firsts, took, strict=True)
            ]
        )
        logged_ns = time.perf_counter_ns()
        came_ns = min(question.started_ns for question in questions)
        stages = Stages(came_ns, questions[0].begun_ns, features_ns, scored_ns, logged_ns)
        self._observer.staged(lineup.model, stages)
        if staged is not None:
            staged(stages)
        for question, latency_us in zip(questions, took, strict=True):
            self._observer.predicted(lineup.model, len(question.rows), latency_us)
        if lineup.ruled:
            for own in who:
                self._observer.ruled(lineup.model, own)
        fallbacks = [] if lineup.fallback is None else list(fallen_back(scored))
        for cause, rows in fallbacks:
            self._observer.fell_back(lineup.model, cause, rows)
        self.vitals.of(lineup.model).answered(questions[-1].time_us, ends[-1], stages, fallbacks)
        for failure in each_once(batch.failures):
            self._observer.not_evaluated(lineup.model, failure, questions[-1].time_us)
        if lineup.shadows and logged:
            self._shadows.ask(questions, batch, firsts)
        if not logged:
            told = [evolve(each, logged=False) for each in told]
        return [(each, scored) for each, (_, scored, _) in zip(told, answering, strict=True)]

    def log_place(self, model: str) -> LogPlace:
        """Return where the next record of a model's predictions begins, unless another one comes before it."""
        return self._predictions[model].place()

    def remember(self, model: str, rows: int, keep: Callable[[], None], probe: Callable[[], None]) -> bool:
        """Have what a repeated call needs kept or looked up, by the policy of the log; see `PolicedLog.remember`."""
        return self._predictions[model].remember(rows, keep, probe)

    def is_logged(self, model: str, place: LogPlace, first_id: str) -> bool:
        """Say whether the record of these predictions, which was to be at a place or a little behind it, is there."""
        return self._predictions[model].holds(place, first_id)

    def push(self, source: str, rows: Sequence[Sequence[Any]], *, vetted: bool = False) -> Pushed:
        """Take rows of a source in, values in the order of its fields.

        vetted: the contract was applied to these rows where they come from. Raises UnknownSource, NotPushable, and
        BatchBreaksContract for rows that break the contract: they are in quarantine then, and none was taken. Raises
        LogFull where there is no room; the same rows may be pushed again then.
        """
        with taken_by_log(f"source '{source}': the rows"):
            if not vetted:
                self._gate.check(source, rows)
            return self._feed.push(source, rows)

    def label(self, model: str, ids: Sequence[str], labels: Told, metrics: Mapping[str, Told] | None = None) -> int:
        """Log what became true of predictions, known from now on; return how many.

        metrics: of the model's business metrics, a value for each id; None where it is not told, as of labels. Raises
        UnknownModel, InvalidPredictionId, LogFull, UndeclaredMetric, and ValueError for what `encode_labels` does not
        take; then none was logged.
        """
        declared = self._model(model).business
        if undeclared := [name for name in metrics or () if name not in declared]:
            raise UndeclaredMetric(model, undeclared[0], declared)
        with taken_by_log(f"model '{model}': the labels"):
            self._labels[model].append(ids, labels, self._clock.now(), metrics)
        return len(ids)

    def falls_back(self, model: str) -> bool:
        """Say whether a call of a model that would fail is answered by a fallback."""
        lineup = self._lineups.get(model)
        return lineup is not None and lineup.fallback is not None

    def log_seconds(self, model: str) -> float:
        """Return how long the newest append to a model's log took (s)."""
        return self._predictions[model].seconds

    def problems(self) -> dict[str, str]:
        """Return what of the ledger could not be taken over; see `Standing.problems`."""
        return self.standing.problems()

    def line_ups(self) -> dict[str, LineUp]:
        """Return who answers now, by model."""
        return self._lineups.all()

    def newest_known_us(self) -> dict[str, int]:
        """Return, per source that ever had a row, when its newest row became known (µs)."""
        return self._feed.newest_known_us()

    def close(self) -> None:
        """Close the logs; the home is its owner's to close."""
        for predictions in self._predictions.values():
            predictions.close()
        for labels in self._labels.values():
            labels.close()
        self.vitals.close()

    def _prepare(self, lineup: LineUp) -> None:
        """Have the state hold what a line-up reads, and try it."""
        self._state.prepare(lineup)
        warm(lineup, self._home.online, self._clock.now())
        self._predictions[lineup.model].settle()
        self._labels[lineup.model].settle()

    def _model(self, name: str) -> Model:
        if name not in self.project.models:
            raise UnknownModel(name, list(self.project.models))
        return self.project.models[name]

    def _lineup(self, model: str) -> LineUp:
        lineup = self._lineups.get(model)
        if lineup is None:
            problem = self._lineups.problems.get(self._model(model).name)
            raise NoChampion(model, None if problem is None else problem.told)
        return lineup


def _fetched(plan: FeaturePlan, reader: OnlineReader, asked: Columns) -> Fetched | Exception:
    """Return what the state holds; why not, where it cannot be read: only the champion's failure fails an answer."""
    try:
        return fetch(plan, reader, asked)
    except ANY_FAILS as error:
        return as_error(error)


def _is_stale(reader: OnlineReader, oldest_us: Mapping[str, int], time_us: int) -> bool:
    """Say whether the newest row of a source is older than it may be, or there is none. oldest_us: source → age."""
    newest = newest_known_of(reader, list(oldest_us))
    return any(time_us - newest.get(source, 0) > age_us for source, age_us in oldest_us.items())


def _in_order(lineup: LineUp, requests: pl.DataFrame) -> pl.DataFrame:
    missing = [name for name in lineup.fields if name not in requests.columns]
    if missing:
        raise WrongRequest(lineup.model, missing)
    return requests.select(lineup.fields)
