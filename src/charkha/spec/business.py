"""Business metrics: figures that a label call may carry beside the truth, such as the margin of an order."""

from typing import Literal

Better = Literal["higher", "lower"]
DIRECTIONS: tuple[Better, ...] = ("higher", "lower")

MOST_METRICS = 16
LONGEST_NAME = 64
# Of a value, whichever sign. Sums of squares of any number of them stay finite.
LARGEST_VALUE = 1e12
