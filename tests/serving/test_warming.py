"""A line-up is tried before it answers: no call waits for what is made at its first use."""

from pathlib import Path

import polars as pl
import pytest
from serving_project import champion, deploy, open_stage, requests, rule, write_bundle

from charkha.features import ages, online, request
from charkha.serving.prediction_log import prediction_stream
from charkha.storage.ledger import Assignment

MADE_ONCE = (online.layout_of, ages._stamps_of, request.program_of, request._column_types)


def made() -> int:
    """Return how many things were made at their first use."""
    return sum(each.cache_info().misses for each in MADE_ONCE)


@pytest.mark.parametrize("count", [1, 64])
def test_the_first_call_finds_all_of_it_made(tmp_path: Path, count: int) -> None:
    with open_stage(tmp_path, rules=[rule("far", pl.col("km") > 5)]) as stage:
        write_bundle(stage.project, stage.home, "v2", rules=[rule("near", pl.col("km") < 5)])
        deploy(stage.home, champion("v1"), Assignment("v2", "shadow"))
        before = made()
        stage.service.refresh()
        ready = made()
        assert ready > before
        stage.service.predict("late_trip", requests(*["Pune"] * count))
        assert made() == ready


def test_a_version_that_comes_back_is_not_made_anew(tmp_path: Path) -> None:
    with open_stage(tmp_path, rules=[rule("far", pl.col("km") > 5)]) as stage:
        write_bundle(stage.project, stage.home, "v2", rules=[rule("near", pl.col("km") < 5)])
        for version in ("v2", "v1"):
            deploy(stage.home, champion(version))
            stage.service.refresh()
        before = made()
        deploy(stage.home, champion("v2"))
        stage.service.refresh()
        assert made() == before


def test_nothing_of_it_is_logged(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        assert list(stage.home.log.read(prediction_stream("late_trip"))) == []
