"""A manifest says on disk what it said in memory, or says why it cannot."""

import json

import msgspec
import numpy as np
import pytest
from made_bundle import Made, make

from charkha.bundles.manifest import (
    RULES_FORMAT,
    Estimate,
    GateResult,
    Manifest,
    ManifestError,
    manifest_from_json,
    manifest_to_json,
)
from charkha.bundles.profile import profile_of


@pytest.fixture
def made() -> Made:
    return make()


def test_it_survives_json(made: Made) -> None:
    again = manifest_from_json(manifest_to_json(made.manifest))
    assert again == made.manifest
    assert profile_of(again.shape, made.features, made.labels) == again.reference


def test_one_that_was_written_before_it_counted_what_is_left_out_is_read(made: Made) -> None:
    plain = json.loads(manifest_to_json(made.manifest))
    del plain["lineage"]["left_out"]
    assert manifest_from_json(json.dumps(plain).encode()) == made.manifest


def test_numbers_keep_every_digit(made: Made) -> None:
    awkward = [0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308, 2**53 + 2.0]
    for number in awkward:
        kept = msgspec.structs.replace(made.manifest, threshold=number)
        assert manifest_from_json(manifest_to_json(kept)).threshold == number


def test_whoever_reads_the_file_finds_the_words(made: Made) -> None:
    plain = json.loads(manifest_to_json(made.manifest))
    assert (plain["model"], plain["purpose"], plain["estimator"]["parameters"]["trees"]) == ("late", "operations", 20)


def test_numbers_that_are_not_finite_are_all_named(made: Made) -> None:
    bad = msgspec.structs.replace(
        made.manifest,
        threshold=np.inf,
        metrics={"test": {"roc_auc": Estimate(0.5, float("nan"), 0.6, 10)}},
        gates=(GateResult("g", False, None, -np.inf, ""),),
    )
    with pytest.raises(ManifestError) as caught:
        manifest_to_json(bad)
    assert str(caught.value) == (
        "expected finite numbers, got inf at $.threshold, nan at $.metrics.test.roc_auc.low, -inf at $.gates[0].target."
        " Leave out what cannot be estimated."
    )


def test_a_newer_format_asks_for_an_upgrade(made: Made) -> None:
    newer = msgspec.structs.replace(made.manifest, format=RULES_FORMAT + 1)
    with pytest.raises(ManifestError, match=f"format {RULES_FORMAT} or older, got {RULES_FORMAT + 1}. Upgrade Charkha"):
        manifest_from_json(manifest_to_json(newer))


@pytest.mark.parametrize("text", [b"", b"{}", b"null", b'{"format": 1}', b"\x80\x04K\x01."])
def test_something_else_is_refused(text: bytes) -> None:
    with pytest.raises(ManifestError, match="expected the manifest of a bundle"):
        manifest_from_json(text)


def test_a_version_passed_when_all_its_gates_did(made: Made) -> None:
    failed = GateResult("g", False, None, None, "")
    both: Manifest = msgspec.structs.replace(made.manifest, gates=(*made.manifest.gates, failed))
    assert (made.manifest.passed, both.passed) == (True, False)
    assert msgspec.structs.replace(made.manifest, gates=()).passed
