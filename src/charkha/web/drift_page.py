"""The report of drift: one HTML file that needs nothing else, with every bin of every index."""

from functools import cache

from jinja2 import Environment

from charkha.monitoring.diagnosis.wording import moment
from charkha.monitoring.drift_report import DriftReport
from charkha.web.drift_chart import answers_plot, bins_plot
from charkha.web.figures import NOTHING, percent_text
from charkha.web.templating import page_environment


def render_drift(report: DriftReport) -> str:
    """Return the report as HTML. Text of the data is data: whatever it holds, it is shown and never run."""
    parts = (report.score, *report.by_movement)
    return (
        _environment()
        .get_template("drift.html.j2")
        .render(report=report, parts=parts, bins_plot=bins_plot, answers_plot=answers_plot)
    )


def _figure(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4g}"


@cache
def _environment() -> Environment:
    environment = page_environment()
    environment.filters |= {"moment": moment, "percent": percent_text, "figure": _figure}
    return environment
