"""A panic of Polars is no `Exception`, and yet leaves nobody without an answer, and no thread ended."""

import asyncio
import threading
from datetime import datetime
from typing import Any

import polars as pl
import pytest
from app_client import app_client
from polars.exceptions import PanicException
from serving_project import Stage

import charkha as ck
from charkha.features.contracts import violations
from charkha.serving.batcher import Batcher, Unanswered
from charkha.serving.beside import InThread
from charkha.serving.contracts import ContractBroken, request_check
from charkha.serving.follower import Follower
from charkha.serving.http import build_router
from charkha.serving.metrics import ServingMetrics
from charkha.serving.schemas import request_frame
from charkha.spec.failures import as_error

FIELDS = {"code": str, "digits": int}
ROW = ("Pune", 1.5, 2, True)
HUGE = 2**63 - 1  # so many digits Polars panics at


class NoError(BaseException):
    """What neither Python nor Polars counts among the errors: a panic of another library, say."""


def padded() -> tuple[ck.Source, ck.Model]:
    rule = pl.col("code").str.zfill(pl.col("digits")) == pl.col("code")
    source = ck.Source(
        "codes",
        {**FIELDS, "at": datetime},
        time="at",
        key="code",
        contract=ck.Contract(where={"a code of its digits": rule}),
    )
    model = ck.Model(
        "m", label=ck.Label(source, pl.col("code") == "1", at="at", delay="1h"), request=list(FIELDS), features=[],
        estimator=ck.Linear(), purpose="a test", owner="us",
    )  # fmt: skip
    return source, model


def test_polars_panics_at_what_this_is_tried_with() -> None:
    with pytest.raises(PanicException) as panic:
        pl.DataFrame({"code": ["x"], "digits": [HUGE]}).with_columns(pl.col("code").str.zfill(pl.col("digits")))
    assert not isinstance(panic.value, Exception)
    assert isinstance(as_error(panic.value), Exception)


def test_a_rule_that_panics_on_a_request_refuses_it() -> None:
    check = request_check(padded()[1])
    assert check is not None
    check.refuse([("12", 2)], request_frame(FIELDS, [("12", 2)]), is_many=False)
    with pytest.raises(ContractBroken, match="expected a code of its digits"):
        check.refuse([("12", HUGE)], request_frame(FIELDS, [("12", HUGE)]), is_many=False)


def test_a_rule_that_panics_on_a_row_of_a_batch_is_broken_by_that_row() -> None:
    rows = pl.DataFrame({"code": ["12", "7", "3"], "digits": [2, HUGE, 1], "at": [datetime(2026, 1, 1)] * 3})
    (found,) = violations(rows.with_columns(pl.col("at").dt.replace_time_zone("UTC")), padded()[0])
    assert list(found.places) == [1]


def panicking(stage: Stage, monkeypatch: pytest.MonkeyPatch, panic: BaseException) -> None:
    answer = stage.service.answer

    def answered(questions: Any, **how: Any) -> Any:
        if any(row[0] == "Gone" for question in questions for row in question.rows):
            raise panic
        return answer(questions, **how)

    monkeypatch.setattr(stage.service, "answer", answered)


def test_a_call_that_panics_is_an_error_of_its_own(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    panicking(stage, monkeypatch, PanicException("out of range"))
    row = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": True}
    with app_client(build_router(stage.service, ServingMetrics(), stage.clock)) as client:
        gone: dict[str, Any] = {**row, "city": "Gone"}
        bodies: list[dict[str, Any]] = [row, gone, row, {"rows": [gone] * 100}]
        replies = client.together(*bodies, path="/v1/models/late_trip/predict")
        assert [reply.status_code for reply in replies] == [200, 500, 200, 500]


def test_a_batch_that_ends_in_what_is_no_error_leaves_nobody_waiting(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    panicking(stage, monkeypatch, NoError())

    async def asked() -> list[Any]:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        batcher = Batcher(stage.service, "late_trip")
        together = batcher.predict([ROW]), batcher.predict([("Gone", *ROW[1:])])
        first = await asyncio.wait_for(asyncio.gather(*together, return_exceptions=True), 10)
        return [*first, await asyncio.wait_for(batcher.predict([ROW]), 10)]

    one, two, after = asyncio.run(asked())
    assert isinstance(one, Unanswered)
    assert isinstance(two, Unanswered)
    assert len(after) == 1


@pytest.mark.parametrize("failure", [PanicException("out of range"), NoError("gone")])
def test_a_follower_goes_on_after_a_panic(failure: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    looks, again = [0], threading.Event()

    class Followed:
        def refresh(self) -> bool:
            looks[0] += 1
            if looks[0] == 1:
                raise failure
            again.set()
            return False

        def problems(self) -> dict[str, str]:
            return {}

    follower = Follower(Followed(), every_seconds=0.005)
    follower.start()
    assert again.wait(10)
    follower.stop()
    assert str(failure) in caplog.text


@pytest.mark.parametrize("failure", [PanicException("out of range"), NoError("gone")])
def test_work_beside_the_answers_goes_on_after_a_panic(failure: BaseException) -> None:
    beside, done = InThread(most_rows=1), threading.Event()

    def fails() -> None:
        raise failure

    beside.do(fails, 1)
    for _ in range(1000):
        if beside.do(done.set, 1):
            break
        threading.Event().wait(0.01)
    assert done.wait(10)
    beside.close(5)
