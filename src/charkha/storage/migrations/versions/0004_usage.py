"""What work used of the machine.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "usage",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("began_us", sa.BigInteger(), nullable=False),
        sa.Column("wall_seconds", sa.Float(), nullable=False),
        sa.Column("cpu_seconds", sa.Float(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("peak_bytes", sa.BigInteger()),
        sa.Column("memory_gb_seconds", sa.Float()),
        sa.Column("read_bytes", sa.BigInteger()),
        sa.Column("written_bytes", sa.BigInteger()),
        sa.Column("gpu_seconds", sa.Float()),
        sa.PrimaryKeyConstraint("id", name="pk_usage"),
    )
    op.create_index("ix_usage_run", "usage", ["run"])
    op.create_index("ix_usage_model", "usage", ["model"])
    op.create_index("ix_usage_began_us", "usage", ["began_us"])
