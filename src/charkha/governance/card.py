"""The model card: what a version is, for whom, how good and how far, for people who did not make it."""

from charkha.bundles.manifest import Manifest, RulesApplied, RuntimeChoice
from charkha.clock import to_iso
from charkha.features.expressions import expression_from_json
from charkha.governance.left_out import left_out_lines
from charkha.governance.markdown import plain, table
from charkha.governance.measured import gates_lines, metrics_lines, slices_lines, weakest_lines
from charkha.spec.policies import Fallback
from charkha.spec.rules import SCORE, reads_score

# Below this share of nulls in the reference, a feature's nulls are no news.
OFTEN_NULL = 0.2


def model_card(manifest: Manifest) -> str:
    """Return the card of a version, in Markdown. It says nothing that the manifest does not hold."""
    sections = {
        "What it is": _what(manifest),
        "What it was made from": _data(manifest),
        "How good it is": metrics_lines(manifest),
        "For whom it is how good": slices_lines(manifest),
        "How it decides": _decisions(manifest),
        "Where it cannot answer": _fallback(manifest),
        "What it had to show": gates_lines(manifest),
        "Where it ends": _limits(manifest),
        "How to make it again": _lineage(manifest),
    }
    lines = [f"# {plain(manifest.model)} {plain(manifest.version)}", "", *_opening(manifest)]
    for title, section in sections.items():
        lines += ["", f"## {title}", "", *section] if section else []
    return "\n".join(lines) + "\n"


def _opening(manifest: Manifest) -> list[str]:
    verdict = "It passed all of its gates." if manifest.passed else "**It failed a gate, and must not serve.**"
    return [
        f"For {plain(manifest.purpose)}; {plain(manifest.owner)} answers for it.",
        f"Made {to_iso(manifest.created_us)} from what was known at {to_iso(manifest.as_of_us)}. {verdict}",
    ]


def _what(manifest: Manifest) -> list[str]:
    answer = "a probability" if manifest.task == "binary" else "a number"
    parameters = ", ".join(f"{name} {value}" for name, value in manifest.estimator.parameters.items())
    calibration = manifest.calibration
    smoothing = f"Its scores are calibrated ({calibration.kind})." if calibration else "Its scores are not calibrated."
    names = ", ".join(plain(name) for name in manifest.schema.names)
    return [
        f"- It answers with {answer} ({manifest.task}). {smoothing}",
        f"- Estimator: {plain(manifest.estimator.kind)} ({plain(parameters or 'no parameters')}).",
        f"- {len(manifest.schema.names)} features: {names}.",
        *_runtime(manifest.runtime),
    ]


def _runtime(choice: RuntimeChoice | None) -> list[str]:
    """Say what it is served by, and how that compares; nothing for a version from before it was chosen."""
    if choice is None:
        return []
    held = f", whose scores are the trainer's own to 1e-6 on {choice.rows:,} validation rows" if choice.rows else ""
    figures = [
        f"{plain(name)} {found.one_row_us:.3g} µs for one row, {found.batch_row_us:.3g} µs a row in 64"
        for name, found in choice.measured.items()
    ]
    why = f" Measured: {'; '.join(figures)}." if figures else ""
    not_taken = "".join(f" Not {plain(name)}: {plain(reason)}." for name, reason in choice.passed_over.items())
    return [f"- Runtime: {plain(choice.name)}{held}.{why}{not_taken}"]


def _data(manifest: Manifest) -> list[str]:
    parts = [
        (part, f"{found.rows:,}", to_iso(found.from_us), to_iso(found.until_us), f"{found.mean_label:.4g}")
        for part, found in manifest.parts.items()
    ]
    sources = ", ".join(f"{plain(name)} ({rows:,} rows)" for name, rows in manifest.lineage.source_rows.items())
    split = "The rows were split by time, with a gap between the parts as long as labels are late."
    lines = [f"{manifest.lineage.rows:,} labelled rows, from {sources or 'no sources'}."]
    if manifest.lineage.left_out:
        ahead = "was known before the prediction was asked for, and features could have seen it."
        lines.append(f"{manifest.lineage.left_out:,} more were left out: their truth {ahead}")
    lines += left_out_lines(manifest.lineage)
    return [*lines, split, "", *table(("part", "rows", "from", "until", "mean label"), parts)] if parts else lines


def _decisions(manifest: Manifest) -> list[str]:
    paragraphs = [_threshold(manifest), _rules(manifest)]
    return "\n\n".join("\n".join(lines) for lines in paragraphs if lines).splitlines()


def _threshold(manifest: Manifest) -> list[str]:
    if manifest.threshold is None:
        return []
    costs = ", ".join(f"{plain(name)} {cost:g}" for name, cost in manifest.costs.items())
    because = f", the cheapest on the validation rows at these costs: {costs}" if costs else ""
    return [f"A score of {manifest.threshold:.4g} or more decides yes{because}."]


def _rules(manifest: Manifest) -> list[str]:
    rows = [
        (
            plain(rule.name),
            plain(expression_from_json(rule.when_json)),
            ("yes" if rule.decide else "no") + (" (in shadow)" if rule.shadow else ""),
            plain(rule.reason),
        )
        for rule in manifest.rules
    ]
    said = ["The first of these rules that holds decides before the score does."]
    if any(rule.shadow for rule in manifest.rules):
        said.append("One in shadow is evaluated and logged, and decides nothing.")
    if any(reads_score(expression_from_json(rule.when_json)) for rule in manifest.rules):
        said.append(f"`{SCORE}` is the score, calibrated: a rule that reads it is evaluated after the model.")
    return [" ".join(said), "", *table(("rule", "when", "decision", "reason"), rows)] if rows else []


def _fallback(manifest: Manifest) -> list[str]:
    """Say what was declared to answer in its place."""
    declared = manifest.fallback
    if declared is None:
        return ["No fallback was declared: a call on which it fails, or while it is killed, fails."]
    instead = [
        *(["the champion before, if it can and the features are not at fault"] * declared.previous),
        *(["the rules that hold"] * any(not rule.shadow for rule in manifest.rules)),
        _constant(declared),
    ]
    most = declared.max_missing
    missing = [] if most is None else [f"where more than {most:.0%} of its features from views are null"]
    ages = [
        f"while the newest row of {plain(name)} is older than {age}" for name, age in declared.max_source_age.items()
    ]
    abstains = " and ".join([*missing, *ages])
    return [
        f"Where it fails, is killed or has not the time, this answers in its place: {', else '.join(instead)}.",
        *([f"It abstains {abstains}; the same answers then."] * bool(abstains)),
        "So it was declared when this version was made; a server goes by the definition that it has read.",
    ]


def _constant(declared: Fallback) -> str:
    decision = {None: "no decision", True: "yes", False: "no"}[declared.decision]
    return f"{decision}, with {'no score' if declared.score is None else f'the score {declared.score:g}'}"


def _limits(manifest: Manifest) -> list[str]:
    texts = [plain(column.name) for column in manifest.schema.columns if column.kind == "categorical"]
    rows = max(manifest.reference.rows, 1)
    nulls = {name: counts[-1] / rows for name, counts in manifest.reference.features.items()}
    often = [f"{plain(name)} ({share:.0%})" for name, share in nulls.items() if share >= OFTEN_NULL]
    return [
        f"- It knows nothing of what became known after {to_iso(manifest.as_of_us)}.",
        *([f"- It takes a value that it has not seen in training for none at all: {', '.join(texts)}."] * bool(texts)),
        *([f"- Often without a value: {', '.join(often)}."] * bool(often)),
        *weakest_lines(manifest),
    ]


def _lineage(manifest: Manifest) -> list[str]:
    lineage = manifest.lineage
    versions = ", ".join(f"{plain(name)} {plain(version)}" for name, version in lineage.versions.items())
    applied = lineage.rules_applied
    return [
        *([_applied(applied)] if applied else []),
        f"- Data as known at {to_iso(lineage.as_of_us)}; fingerprint of the dataset `{lineage.fingerprint}`.",
        f"- Digest of the definition `{lineage.definition_digest}`; seed {lineage.seed}.",
        *([f"- Made with {versions}."] if versions else []),
    ]


def _applied(applied: RulesApplied) -> str:
    origin = plain(applied.version)
    return (
        f"- It was not trained: it is {origin} with other rules, applied by {plain(applied.by)} from the definition "
        f"`{applied.definition_digest}`. What was measured, and the gates, are of {origin} with its own."
    )
