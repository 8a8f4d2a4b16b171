"""When a worker that died is started again."""

from charkha.serving.respawns import Respawns


def test_early_deaths_in_a_row_wait_ever_longer() -> None:
    respawns = Respawns()
    assert [respawns.died(0, 1.0) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert respawns.died(1, 1.0) == 1
    assert respawns.died(0, 60.0) == 0
    assert respawns.died(0, 1.0) == 1


def test_a_worker_that_served_and_was_killed_is_replaced_at_once() -> None:
    respawns = Respawns()
    assert respawns.died(0, 1.0) == 1
    assert [respawns.died(0, 1.0, from_outside=True) for _ in range(3)] == [0, 0, 0]
    assert respawns.died(0, 1.0) == 1
