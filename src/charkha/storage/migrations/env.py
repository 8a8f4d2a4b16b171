"""What Alembic runs: the migrations, on the connection it was given, in the transaction that is open on it."""

import logging

from alembic import context

from charkha.storage.ledger.schema import REVISION_TABLE

# An application that logs at INFO did not ask to hear of each step.
logging.getLogger("alembic").setLevel(logging.WARNING)

context.configure(connection=context.config.attributes["connection"], version_table=REVISION_TABLE)
with context.begin_transaction():
    context.run_migrations()
