"""What every test of serving may ask for."""

from serving_fixtures import home, metrics, project, stage

__all__ = ["home", "metrics", "project", "stage"]
