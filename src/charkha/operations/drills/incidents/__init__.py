"""The kinds of incident, a family in each file; each has its `INCIDENTS`."""
