"""Checks: each looks for one kind of thing that is not as it was, and gives signals; none of them judges."""
