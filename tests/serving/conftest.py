"""What every test of serving may ask for."""

from serving_fixtures import home, metrics, project, stage, watch

__all__ = ["home", "metrics", "project", "stage", "watch"]
