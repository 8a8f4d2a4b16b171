"""Predictions and labels in, findings out: outcomes, performance, drift and freshness, measured from the log."""
