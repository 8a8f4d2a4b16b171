"""The bodies of the labels route: the truth of a prediction, business metrics of it, or both.

A model that declares no business metric takes its label alone. Of one that does, a row tells what is known of it by
then: what it leaves out is not told, and no zero.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from attrs import frozen
from msgspec import UNSET, Meta

from charkha.serving.refusals import Invalid
from charkha.serving.schemas import ROWS, Row, RowSchema, schema_of, struct_of
from charkha.spec.business import LARGEST_VALUE
from charkha.spec.model import Model, Task

ID, LABEL, METRICS = "id", "label", "metrics"
_LABELS: Mapping[Task, Any] = {"binary": bool | Literal[0, 1], "regression": float}
_LABEL_WORDS: Mapping[Task, str] = {"binary": "true, false, 1 or 0", "regression": "a number"}
_EXAMPLE_ID = "013dc2cb-b400-7000-8000-000000000000"
_VALUE = Annotated[float, Meta(ge=-LARGEST_VALUE, le=LARGEST_VALUE)]
_VALUE_WORDS = f"a number of at most {LARGEST_VALUE:g}, whichever sign"


@frozen(eq=False)
class ToldRows:
    """What a body tells: of each id its label and its business metrics, None where it is not told."""

    ids: list[str]
    labels: list[float | None]
    metrics: dict[str, list[float | None]]


@frozen(eq=False)
class LabelSchema(RowSchema):
    """The rows that the labels route of a model takes. metrics: its business metrics."""

    model: str = ""
    metrics: tuple[str, ...] = ()

    def told(self, body: bytes) -> ToldRows:
        """Return what a body tells. Raises as `decode`, and Invalid for a row that tells nothing of its prediction."""
        rows, is_many = self.decode(body)
        if not self.metrics:
            return ToldRows([str(id_) for id_, _ in rows], [float(label) for _, label in rows], {})
        of_rows = [self._values(row) for row in rows]
        for number, values in enumerate(of_rows):
            if all(value is None for value in values):
                where = f"{ROWS}[{number}]" if is_many else None
                raise Invalid(f"{where or 'body'}: expected a label, metrics or both, got only an id", where)
        columns = [list(column) for column in zip(*of_rows, strict=True)]
        return ToldRows([str(row[0]) for row in rows], columns[0], dict(zip(self.metrics, columns[1:], strict=True)))

    def _values(self, row: Row) -> list[float | None]:
        """Return the label and the metrics of a decoded row."""
        told = row[2]
        values = (UNSET,) * len(self.metrics) if told is UNSET else msgspec.structs.astuple(told)
        return [None if value is UNSET else float(value) for value in (row[1], *values)]

    def _keys(self, structs: Sequence[msgspec.Struct]) -> int:
        return sum(map(_keys_of, structs)) if self.metrics else super()._keys(structs)

    def _expected(self, path: str) -> str:
        field = path.rpartition("].")[2]
        return _VALUE_WORDS if field.startswith(f"{METRICS}.") else super()._expected(path)

    def _wrong_field(self, path: str, name: str, *, missing: bool) -> Invalid:
        field = f"{path}.{name}" if path else name
        if path.rpartition(".")[2] == METRICS:
            known = ", ".join(self.metrics)
            said = f"field '{field}': expected one of the model's business metrics, {known}, got an unknown one"
            return Invalid(said, field)
        if name == METRICS and not self.metrics:
            said = (
                f"field '{field}': expected none, for model '{self.model}' declares no business metrics. Declare them: "
                "ck.Model(…, business={'margin': 'higher'})"
            )
            return Invalid(said, field)
        return super()._wrong_field(path, name, missing=missing)


def label_schema(model: Model, limit: int) -> LabelSchema:
    """Return what the labels route of a model takes: the id of a prediction, and what became true."""
    types = {ID: UUID, LABEL: _LABELS[model.task]}
    words = {ID: "the id of a prediction", LABEL: _LABEL_WORDS[model.task]}
    example: dict[str, object] = {ID: _EXAMPLE_ID, LABEL: model.task == "binary" or 1.5}
    names = tuple(model.business)
    optional: tuple[str, ...] = ()
    if names:
        optional = (LABEL, METRICS)
        types[METRICS] = struct_of(f"{model.name}_metrics", dict.fromkeys(names, _VALUE), names)
        words[METRICS] = f"an object with any of {', '.join(names)}"
        example[METRICS] = {names[0]: 12.5}
    row = struct_of(f"{model.name}_label", types, optional)
    return schema_of(LabelSchema, row, words, example, limit, model=model.name, metrics=names)


def _keys_of(value: object) -> int:
    """Return how many keys an object has, with those of the objects in it; 0 for other values."""
    if not isinstance(value, msgspec.Struct):
        return 0
    told = [each for each in msgspec.structs.astuple(value) if each is not UNSET]
    return len(told) + sum(map(_keys_of, told))
