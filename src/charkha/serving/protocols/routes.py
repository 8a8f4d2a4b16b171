"""All routes of other servers' protocols, as the router takes them."""

from collections.abc import Callable, Mapping

from charkha.serving.body import Limits
from charkha.serving.desk import Desk
from charkha.serving.patience import Patience
from charkha.serving.protocols.described import Described
from charkha.serving.protocols.mlflow_scoring import MlflowScoring
from charkha.serving.protocols.open_inference import OpenInference
from charkha.serving.router import Route


class Protocols:
    """The routes. ends: whether the server is about to end."""

    def __init__(self, desk: Desk, limits: Limits, patience: Patience, ends: Callable[[], bool]) -> None:
        self.described = Described(desk.service, ends)
        self._open_inference = OpenInference(desk, self.described, limits, patience)
        self._mlflow = MlflowScoring(desk, self.described, limits, patience)

    def routes(self) -> Mapping[str, Route]:
        """Return the routes whose paths are known beforehand."""
        return {route.pattern: route for route in self._open_inference.routes()} | dict(self._mlflow.routes())

    def found(self, path: str) -> Route | None:
        """Return the route of a path that is known only when it comes, if it is one."""
        return self._open_inference.found(path) or self._mlflow.found(path)
