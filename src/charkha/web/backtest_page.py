"""The page of a backtest: one HTML file that needs nothing else, neither network nor scripts."""

from functools import cache

from jinja2 import Environment

from charkha.operations.backtest.results import Backtest
from charkha.operations.wording import metric_name
from charkha.web import policy_chart as chart
from charkha.web.figures import date_text, metric_text, month_name, percent_text, seconds_text
from charkha.web.templating import page_environment


def render_backtest(shown: Backtest) -> str:
    """Return the page as HTML. Text of the data is data: whatever it holds, it is shown and never run."""
    windows = len({each.window for each in shown.tried}) > 1
    names = tuple(f"{each.policy}, {each.window}" if windows else each.policy for each in shown.tried)
    return (
        _environment()
        .get_template("backtest.html.j2")
        .render(
            shown=shown,
            names=names,
            metric=metric_name(shown.metric),
            best=shown.best,
            frugal=shown.frugal,
            months=sorted({month.month for each in shown.tried for month in each.months}),
            by_month=[{month.month: month.metric for month in each.months} for each in shown.tried],
            chart=chart.policy_chart(shown, names),
            box=chart,
        )
    )


@cache
def _environment() -> Environment:
    environment = page_environment()
    environment.filters |= {
        "date": date_text,
        "metric": metric_text,
        "month_name": month_name,
        "percent": percent_text,
        "seconds": seconds_text,
    }
    return environment
