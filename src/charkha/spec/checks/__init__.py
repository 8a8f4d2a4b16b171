"""The checks behind `charkha.spec.check`: one file per word of a definition, each yielding the faults it finds."""
