"""`charkha train --update`: the champion goes on learning, by hand."""

from pathlib import Path

import pytest
from command_line import Shell


def test_the_champion_goes_on_learning_by_hand(tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shell("init", "shop").code == 0
    monkeypatch.chdir(tmp_path / "shop")
    definition = Path("definition.py")
    plain = definition.read_text()
    updated = plain.replace('every="7d", ', 'update="1d", ')
    definition.write_text(updated)
    refused = shell("check")
    assert refused.code != 0
    assert (
        "expected an estimator that can go on learning, for retrain.update, got 'lightgbm'" in refused.err + refused.out
    )
    definition.write_text(updated.replace("ck.LightGBM(leaves=7)", "ck.OnlineLinear()"))
    assert shell("check").code == 0
    early = shell("train", "--update", "--as-of", "2013-08-25")
    assert "nothing cannot be updated: there is no champion yet. Train instead" in early.err

    first = shell("train", "--as-of", "2013-08-25", "--json")
    if not first.json["champion"]:
        assert shell("promote", "likes", "v1", "--force", "--reason", "to go on from").code == 0
    second = shell("train", "--update", "--as-of", "2013-08-29", "--json")
    assert second.json["version"] == "v2"
    assert second.code == (0 if second.json["passed"] else 1)
    again = shell("train", "--update", "--as-of", "2013-08-25")
    assert "v1 is not updated: expected at least 50 new rows" in again.err
    (run,) = [
        each for each in shell("runs", "list", "--json").json if each["state"] == "done" and "update" in each["key"]
    ]
    assert run["key"].startswith("likes/update/by-hand/")
