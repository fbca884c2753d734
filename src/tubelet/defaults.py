"""Values that several commands and functions of Python take when none is given; nothing is imported for them."""

PERSON_THRESHOLD = 0.5
"""A person box at least this confident starts a tube."""
EVERY_SECONDS = 0.5
"""Between the instants at which actions are scored."""
CSV_THRESHOLD = 0.05
"""Smallest score in the AVA csv; what is below is counted."""
PROBE_STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""Of a probe's regularisation, tried, on features of variance 1."""
