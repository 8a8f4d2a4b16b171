"""A killed model stays on its fallback, whatever is loaded meanwhile."""

from pathlib import Path

from serving_project import MODEL, champion, deploy, open_stage, write_bundle

from charkha.operations.kill import kill
from charkha.serving.lineup import LineUp
from charkha.serving.observer import Quiet
from charkha.spec.policies import Fallback

FALLBACK = Fallback(decision=True, score=0.9)


class Swaps(Quiet):
    """Remembers of each line-up, as it was swapped in, whether it was killed."""

    def __init__(self) -> None:
        self.killed: list[str | None] = []

    def deployed(self, lineup: LineUp) -> None:
        self.killed.append(lineup.killed)


def test_a_promotion_lets_no_killed_model_answer_for_a_moment(tmp_path: Path) -> None:
    swaps = Swaps()
    with open_stage(tmp_path, swaps, FALLBACK) as stage:
        kill(stage.home, stage.clock, MODEL, actor="ann", reason="nonsense")
        stage.service.refresh()
        write_bundle(stage.project, stage.home, "v2")
        deploy(stage.home, champion("v2"))
        stage.service.refresh()
    assert swaps.killed == [None, "nonsense", "nonsense"]
