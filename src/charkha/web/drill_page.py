"""The page of drills: one HTML file that needs nothing else, neither network nor scripts."""

from functools import cache

from jinja2 import Environment

from charkha.monitoring.diagnosis.wording import moment
from charkha.operations.drills.drilled import MEANINGS, Drilled, Power
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.web import drill_chart as chart
from charkha.web.figures import NOTHING
from charkha.web.templating import page_environment


def render_drills(power: Power) -> str:
    """Return the page as HTML. Text of the data is data: whatever it holds, it is shown and never run."""
    return (
        _environment()
        .get_template("drills.html.j2")
        .render(power=power, meanings=MEANINGS, chart=chart.drill_chart(power), box=chart)
    )


def delay_text(delay_us: int | None) -> str:
    """Return how long something took, such as "3.5 h" or "4.0 d"; a dash when it never was."""
    if delay_us is None:
        return NOTHING
    return f"{delay_us / DAY_US:.1f} d" if delay_us >= 2 * DAY_US else f"{delay_us / HOUR_US:.1f} h"


def smallest_text(drilled: Drilled) -> str:
    """Return the smallest size that would be seen, in its unit; a dash where none was looked for, or would be."""
    if drilled.smallest is None:
        return NOTHING
    return f"{drilled.smallest:.3g} {drilled.unit.partition(';')[0]}"


@cache
def _environment() -> Environment:
    environment = page_environment()
    environment.filters |= {"moment": moment, "delay": delay_text, "smallest": smallest_text}
    return environment
