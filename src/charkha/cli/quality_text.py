"""The quality of data and of answers in short, for a terminal: the page and `--json` have the whole."""

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from charkha.cli.session import Session

if TYPE_CHECKING:
    from charkha.monitoring.answer_quality import ClassificationQuality, RegressionQuality
    from charkha.monitoring.data_quality import DataQuality
    from charkha.monitoring.drift_report import DriftReport


def show_data(session: Session, data: "DataQuality") -> None:
    """Print what the version was given: each column in figures, and how many rows were there before."""
    table = Table("column", box=None, header_style="dim", pad_edge=False)
    for name in ("null", "distinct", "least", "mean", "most"):
        table.add_column(name, justify="right")
    for each in data.columns:
        middle = escape(f"mostly {each.commonest}") if each.commonest is not None else _figure(each.mean)
        nulls = f"{each.nulls / max(1, each.rows):.1%}"
        table.add_row(escape(each.name), nulls, f"{each.distinct:,}", _figure(each.least), middle, _figure(each.most))
    if data.columns:
        session.out.print(table)
    share = data.duplicates / max(1, data.rows)
    words = f"duplicate rows: {data.duplicates:,} of {data.rows:,} ({share:.1%}) are as one before them was"
    session.out.print(words, highlight=False)


def show_answers(session: Session, report: "DriftReport") -> None:
    """Print how good the answers were, on a line or two, or why that cannot be told."""
    from charkha.monitoring.answer_quality import RegressionQuality

    found = report.answers
    if found is None:
        lines = [f"quality of answers: {report.remark}"]
    elif isinstance(found, RegressionQuality):
        lines = [_regression(found)]
    else:
        lines = _classification(found)
    for line in lines:
        session.out.print(escape(line), highlight=False)


def _classification(found: "ClassificationQuality") -> list[str]:
    figures = f"ROC AUC {_figure(found.roc_auc)}, log loss {found.log_loss:.4g}, Brier {found.brier:.4g}"
    if found.confusion is None or found.threshold is None:
        return [f"probabilities: {figures}"]
    negative, wrong, missed, hit = found.confusion
    decided = (
        f"decisions from {found.threshold:.4g} on: {hit:,} rightly true, {wrong:,} wrongly, {missed:,} missed, "
        f"{negative:,} rightly false; precision {_figure(found.precision)}, recall {_figure(found.recall)}"
    )
    return [decided, f"probabilities: {figures}"]


def _regression(found: "RegressionQuality") -> str:
    return (
        f"errors: MAE {found.mae:.4g}, RMSE {found.rmse:.4g}, bias {found.bias:+.4g}, R² {_figure(found.r2)} over "
        f"{found.rows:,} labels"
    )


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
