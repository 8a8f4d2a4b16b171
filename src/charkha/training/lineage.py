"""What a model was made of: the digest of its definition and the versions of the libraries."""

import hashlib
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import attrs
import polars as pl

from charkha.features.expressions import expression_to_json
from charkha.spec.model import Model

LIBRARIES = ("catboost", "charkha", "lightgbm", "numba", "numpy", "polars", "scikit-learn", "xgboost")


def definition_digest(model: Model) -> str:
    """Return "sha256:…" over everything a definition says: another digest, another definition.

    But what the machine costs, which changes nothing of the model.
    """
    content = {**attrs.asdict(model, value_serializer=_plain), "estimator_kind": model.estimator.kind}
    del content["prices"]
    text = json.dumps(content, sort_keys=True, default=repr)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _plain(_owner: object, _attribute: object, value: object) -> object:
    if isinstance(value, pl.Expr):
        return expression_to_json(value)
    return value.__name__ if isinstance(value, type) else value


def declared_parameters(estimator: Any) -> dict[str, Any]:
    """Return what an estimator was declared with, name by name. `estimator`: an attrs class, as all of them are."""
    return attrs.asdict(estimator)


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that make a model, as installed."""
    versions = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return versions
