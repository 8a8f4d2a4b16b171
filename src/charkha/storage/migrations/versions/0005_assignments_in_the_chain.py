"""What a decision put into production, within what its hash covers.

Decisions that are there already keep their hashes, and so have none.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("decisions", sa.Column("assignments", sa.Text()))
