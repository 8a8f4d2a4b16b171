"""The report of an incident: one HTML file that needs nothing else, neither network nor scripts."""

from functools import cache

from jinja2 import Environment

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.incident import Diagnosis
from charkha.monitoring.diagnosis.wording import facts, figure, moment, strength
from charkha.web import incident_chart as chart
from charkha.web.before_after import before_after
from charkha.web.incident_series import blocks_of, plots
from charkha.web.templating import page_environment


def render_incident(case: Case, diagnosis: Diagnosis) -> str:
    """Return the report as HTML. Text of the data is data: whatever it holds, it is shown and never run."""
    blocks = blocks_of(case, diagnosis)
    charts = [chart.drawn(plot, blocks) for plot in plots(case, diagnosis, blocks)]
    return (
        _environment()
        .get_template("incident.html.j2")
        .render(
            found=diagnosis,
            facts=facts(diagnosis),
            timeline=chart.timeline(diagnosis, case.traffic.changes, blocks),
            charts=[each for each in charts if each is not None],
            figures=before_after(case, diagnosis),
            box=chart,
        )
    )


@cache
def _environment() -> Environment:
    environment = page_environment()
    environment.filters |= {"figure": figure, "moment": moment, "strength": strength}
    return environment
