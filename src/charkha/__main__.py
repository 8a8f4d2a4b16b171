"""`python -m charkha`: the command line, where the `charkha` script is not on the path."""

from charkha.cli import main

main()
