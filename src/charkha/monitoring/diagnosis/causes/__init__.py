"""Causes: each file explains signals by one kind of cause, as weighted hypotheses; `explain` lets them argue."""
