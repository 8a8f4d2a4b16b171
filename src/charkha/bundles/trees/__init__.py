"""Ensembles of trees as flat arrays, whoever grew them: read from a library's own format, walked by one kernel."""
