"""The report of a replay: one HTML file that needs nothing else, neither network nor scripts."""

from functools import cache

from jinja2 import Environment

from charkha.monitoring.skew import FeatureSkew
from charkha.operations.replay_summary import ReplaySummary
from charkha.operations.wording import metric_name
from charkha.web import month_chart as chart
from charkha.web import version_rows as versions
from charkha.web.drift_map import DRIFTED, MOVED, drift_map
from charkha.web.episodes import episodes
from charkha.web.evidence import evidence_lines
from charkha.web.figures import (
    date_text,
    decimals_for,
    interval_text,
    metric_text,
    month_name,
    percent_text,
    seconds_text,
    size_text,
)
from charkha.web.headline import headline, month_gain
from charkha.web.templating import page_environment

# Features of the heat map that are shown before one asks for the rest.
SHOWN_FEATURES = 16

ACTIONS = {
    "train": "Training",
    "train_failed": "Training failed",
    "train_waits": "Training waits",
    "shadow": "Shadow",
    "promote": "Promoted",
    "reject": "Rejected",
    "rollback": "Rolled back",
    "canary": "Canary",
    "ab_test": "A/B test",
    "continue": "A/B test goes on",
    "retract": "Taken out",
    "propose": "Proposed",
    "approve": "Approved",
    "decline": "Declined",
}


def render_report(summary: ReplaySummary) -> str:
    """Return the report as HTML. Text of the summary is data: whatever it holds, it is shown and never run."""
    template = _environment().get_template("report.html.j2")
    return template.render(
        summary=summary,
        metric=metric_name(summary.metric),
        decimals=decimals_for([month.served.value for month in summary.months]),
        headline=headline(summary),
        chart=chart.month_chart(summary),
        box=chart,
        episodes=episodes(summary.decisions),
        versions=versions.version_rows(summary),
        range_width=versions.RANGE_WIDTH,
        drift=drift_map(summary.drift),
        skew=_worst_first(summary.skew),
        agreeing=sum(1 for feature in summary.skew if feature.agrees),
        exact=sum(1 for feature in summary.skew if feature.exact),
        compared=max((feature.compared for feature in summary.skew), default=0),
    )


@cache
def _environment() -> Environment:
    environment = page_environment()
    environment.filters |= {
        "date": date_text,
        "evidence_lines": evidence_lines,
        "interval": interval_text,
        "metric": metric_text,
        "month_name": month_name,
        "percent": percent_text,
        "seconds": seconds_text,
        "size": size_text,
    }
    environment.globals |= {
        "ACTIONS": ACTIONS,
        "DRIFTED": DRIFTED,
        "MOVED": MOVED,
        "SHOWN_FEATURES": SHOWN_FEATURES,
        "month_gain": month_gain,
    }
    return environment


def _worst_first(skew: tuple[FeatureSkew, ...]) -> list[FeatureSkew]:
    """Return the features that disagree, then the others by how much they differ."""
    return sorted(skew, key=lambda feature: (feature.agrees, -feature.max_difference, feature.feature))
