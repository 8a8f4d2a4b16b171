"""Options that several commands have, worded once."""

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
ModelName = Annotated[
    str | None, typer.Argument(metavar="MODEL", help="Which model; needed when the project has several.")
]
JsonFile = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON; - for standard output.")
]
# Another word for an option, understood and not shown: what one command calls --from, another calls --since.
AlsoSince = Annotated[str | None, typer.Option("--since", hidden=True)]
AlsoFrom = Annotated[str | None, typer.Option("--from", hidden=True)]
HealthyBefore = Annotated[
    str, typer.Option("--healthy", metavar="DURATION", help="How much of the time before tells what is usual.")
]
Recomputed = Annotated[
    int,
    typer.Option(
        "--sample", min=0, metavar="ROWS", help="So many predictions are recomputed from the sources; 0 for none."
    ),
]
