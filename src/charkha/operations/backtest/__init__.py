"""Backtests: policies of retraining and windows of training, tried on the past of a model to choose by evidence."""
