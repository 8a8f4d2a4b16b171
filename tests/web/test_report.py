import re
from html.parser import HTMLParser

from hypothesis import given, settings
from msgspec.structs import replace
from replay_summaries import SUMMARIES, a_year

from charkha.operations.replay_summary import ReplaySummary
from charkha.web.report import render_report

VOID = {"meta", "br"}
# SVG's own elements close themselves; HTML's never do.
SELF_CLOSING = {"line", "path", "circle", "rect"}


class Document(HTMLParser):
    """A strict reader: every element is closed in turn, every id is given once."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in SELF_CLOSING:
            raise AssertionError(f"<{tag}/> does not close in HTML")
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            raise AssertionError(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def values(self, name: str) -> list[str]:
        return [value or "" for key, value in self.attributes if key == name]


def read(summary: ReplaySummary) -> Document:
    document = Document(render_report(summary))
    if document.open:
        raise AssertionError(f"never closed: {document.open}")
    return document


def words(document: Document) -> str:
    return " ".join(" ".join(document.text).split())


def test_the_result_is_said_first() -> None:
    said = words(read(a_year()))

    assert "What was served reached an ROC-AUC of 0.771 . The first champion, never retrained" in said
    assert "+0.008 mean of the months, weighted by labels; better in 7, worse in 1" in said
    assert "255,928 predictions 249,180 labels 5 retrainings 3 promotions 2 rejections 4.4e-16 largest skew" in said


def test_every_decision_is_there_with_its_reason_and_evidence() -> None:
    year = a_year()
    said = words(read(year))

    assert all(decision.reason in said for decision in year.decisions)
    assert all(f"Evidence of decision {decision.sequence}" in said for decision in year.decisions)
    assert "0.741 (0.731 to 0.751) over 25,002 rows" in said


def test_failed_gates_are_shown_outside_the_fold() -> None:
    html = render_report(a_year())

    v3 = html[html.index('<th scope="row">v3</th>') :]
    assert v3.index("expected calibration error 0.034") < v3.index("1 of 2 passed")


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs() -> None:
    html = render_report(a_year())
    document = read(a_year())

    assert not re.search(r"https?:|//[a-z]|@import|url\(", html)
    assert not {"script", "link", "iframe", "img", "object", "embed"} & set(document.tags)
    assert not [name for name, _ in document.attributes if name.startswith("on")]


def test_ids_are_given_once_and_all_references_are_kept() -> None:
    document = read(a_year())
    ids = document.values("id")
    referred = [name for value in document.values("aria-labelledby") for name in value.split()]
    linked = [value.removeprefix("#") for value in document.values("href")]

    assert len(ids) == len(set(ids))
    assert {*referred, *linked} <= set(ids)


def test_headings_and_tables_can_be_told_without_seeing() -> None:
    document = read(a_year())

    assert document.tags.count("h1") == 1
    assert document.tags.count("h2") == document.tags.count("section") == 6
    assert set(document.values("scope")) == {"row", "col"}
    assert "img" in document.values("role")
    assert "en" in document.values("lang")


HOSTILE = "</style><script>alert(1)</script><img src=x onerror=alert(1)>\"'&{{ 7*7 }}"


def test_hostile_text_is_shown_and_never_run() -> None:
    year = a_year()
    decision = replace(year.decisions[0], reason=HOSTILE, action=HOSTILE, version=HOSTILE, evidence={HOSTILE: HOSTILE})
    gate = replace(year.versions[0].gates[0], name=HOSTILE, reason=HOSTILE)
    version = replace(year.versions[0], version=HOSTILE, gates=(gate,), status=HOSTILE)
    month = replace(year.months[0], versions=(HOSTILE,))
    document = read(
        replace(
            year,
            project=HOSTILE,
            model=HOSTILE,
            metric=HOSTILE,
            decisions=(decision,),
            versions=(version,),
            months=(month,),
            drift=(replace(year.drift[0], feature=HOSTILE),),
            skew=(replace(year.skew[0], feature=HOSTILE),),
        )
    )

    assert not {"script", "img"} & set(document.tags)
    assert not [name for name, _ in document.attributes if name.startswith("on")]
    assert words(document).count(HOSTILE) >= 12


def test_a_replay_in_which_nothing_happened_says_so() -> None:
    year = a_year()
    empty = replace(year, months=(), decisions=(), versions=(), drift=(), skew=(), max_skew=0.0)
    said = words(read(empty))

    assert "No month of this replay has enough labels to say how the model did." in said
    assert all(line in said for line in ("Nothing was decided.", "No version was trained.", "No drift was measured."))


def test_features_that_disagree_are_told_and_unfolded() -> None:
    year = a_year()
    broken = replace(year.skew[1], exact=True, max_difference=0.5)
    html = render_report(replace(year, skew=(year.skew[0], broken), max_skew=0.5))

    assert "1 of 2 features agree" in " ".join(html.split())
    assert '<div class="proof broken">' in html
    assert re.search(r"<details open>\s*<summary>Every feature", html)


def test_many_features_fold_away_the_calm_ones() -> None:
    year = a_year()
    drift = tuple(replace(year.drift[0], feature=f"f{number}", psi=number / 100) for number in range(20))

    assert "The 4 calmest features" in words(read(replace(year, drift=drift)))


@settings(max_examples=60, deadline=None)
@given(SUMMARIES)
def test_any_summary_makes_a_whole_document(summary: ReplaySummary) -> None:
    document = read(summary)

    assert not {"script", "b2"} & set(document.tags)
    assert document.tags.count("section") == 6
