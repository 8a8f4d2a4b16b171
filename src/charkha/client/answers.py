"""What a server answers, as types. They are those that it encodes; a test holds the two together."""

import msgspec


class Reason(msgspec.Struct, frozen=True):
    """A feature that moved a score, and what it added: to the log-odds of binary models, else to the value."""

    feature: str
    value: float | str | None
    contribution: float
    text: str | None


class Prediction(msgspec.Struct, frozen=True):
    """One answer. Keep the id: what became true is reported under it.

    score: a probability for binary models, else the value; None where it is no number. decision: None for regression
    without rules. rules: those that held. fallback: why the fallback answered; None where the model did. time: as in
    RFC 3339. reasons, and rule_reasons of the rules that held, by name: of answers that were asked for with
    `?reasons=`. logged: False for one that could not be logged.
    """

    id: str
    score: float | None
    decision: bool | None
    rules: list[str]
    model: str
    version: str
    role: str
    fallback: str | None
    time: str
    reasons: list[Reason] = []
    rule_reasons: dict[str, str] = {}
    logged: bool = True


class Predictions(msgspec.Struct, frozen=True):
    """The answers to many rows, in their order."""

    predictions: list[Prediction]


class Pushed(msgspec.Struct, frozen=True):
    """What became of pushed rows: new, corrections of earlier ones, there already; and when they became known."""

    accepted: int
    corrections: int
    duplicates: int
    known: str


class Labelled(msgspec.Struct, frozen=True):
    """How many labels were logged."""

    accepted: int


class ServedRule(msgspec.Struct, frozen=True):
    """A rule of a version; of those that hold the first that is not in shadow decides, in the order given."""

    rule: str
    decision: bool
    shadow: bool
    reason: str


class ServedVersion(msgspec.Struct, frozen=True):
    """One version at work. rules: empty also where an older server does not tell."""

    version: str
    role: str
    share: float
    rules: list[ServedRule] = []


class ServedModel(msgspec.Struct, frozen=True):
    """A model of the project, and what serves it. problem: what of its deployment could not be loaded.

    killed: why it is on its fallback; None while it answers.
    """

    model: str
    task: str
    purpose: str
    owner: str
    generation: int
    versions: list[ServedVersion]
    killed: str | None = None
    problem: str | None = None


class Models(msgspec.Struct, frozen=True):
    """The models of a project."""

    models: list[ServedModel]


class Ready(msgspec.Struct, frozen=True):
    """Whether predictions are answered. champions: model → version. problems: model → what is wrong with it.

    ending: the server was told to stop. notices: what whoever operates it should know. Champions, problems and notices
    are empty where the server asks for a key and got none.
    """

    ready: bool
    champions: dict[str, str | None] = {}
    problems: dict[str, str] = {}
    ending: bool = False
    notices: list[str] = []
