"""The tables of the ledger.

What changes here needs a migration in `charkha.storage.migrations`; a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

# The newest migration: a ledger stamped with it is opened without loading Alembic.
HEAD = "0005"
REVISION_TABLE = "ledger_revision"

# Names for all constraints, so that later migrations can speak of them on any database.
METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

DECISIONS = Table(
    "decisions",
    METADATA,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("key", String, nullable=False, unique=True),
    Column("time_us", BigInteger, nullable=False),
    Column("model", String, nullable=False, index=True),
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("generation", Integer),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
    # Of a decision that made a generation; null in those that were written before revision 0005, too.
    Column("assignments", Text),
)

DEPLOYMENTS = Table(
    "deployments",
    METADATA,
    Column("model", String, primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("since_us", BigInteger, nullable=False),
    Column("decision", Integer, ForeignKey("decisions.sequence"), nullable=False, unique=True),
)

ASSIGNMENTS = Table(
    "assignments",
    METADATA,
    Column("model", String, primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("version", String, nullable=False),
    Column("role", String, nullable=False),
    Column("share", Float, nullable=False),
    ForeignKeyConstraint(["model", "generation"], ["deployments.model", "deployments.generation"]),
    UniqueConstraint("model", "generation", "version"),
)

# Numbers are given out before a version exists: a training that starts again finds the number it had.
VERSION_NUMBERS = Table(
    "version_numbers",
    METADATA,
    Column("model", String, primary_key=True),
    Column("run_key", String, primary_key=True),
    Column("number", Integer, nullable=False),
    UniqueConstraint("model", "number"),
)

VERSIONS = Table(
    "versions",
    METADATA,
    Column("model", String, primary_key=True),
    Column("version", String, primary_key=True),
    Column("created_us", BigInteger, nullable=False),
    Column("digest", String, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("run_key", String, nullable=False),
    Column("tracking", Text, nullable=False),
    Column("status", String, nullable=False),
)

RUNS = Table(
    "runs",
    METADATA,
    Column("key", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("model", String, nullable=False, index=True),
    Column("started_us", BigInteger, nullable=False),
    Column("finished_us", BigInteger),
    Column("status", String, nullable=False),
    Column("result", Text, nullable=False),
)

CHECKPOINTS = Table(
    "checkpoints",
    METADATA,
    Column("name", String, primary_key=True),
    Column("value", Text, nullable=False),
)

# Of the secret of a key only its digest is kept.
API_KEYS = Table(
    "api_keys",
    METADATA,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("roles", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("revoked_us", BigInteger),
    Column("rate", Float),
)

INCIDENTS = Table(
    "incidents",
    METADATA,
    Column("model", String, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("status", String, nullable=False, index=True),
    Column("cause", String, nullable=False),
    Column("culprit", String, nullable=False),
    Column("began_us", BigInteger, nullable=False),
    Column("opened_us", BigInteger, nullable=False),
    Column("looked_us", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
    Column("closed_us", BigInteger),
    Column("closed_by", String),
    Column("merged_into", Integer),
    Column("diagnosis", Text, nullable=False),
)

USAGE = Table(
    "usage",
    METADATA,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("run", String, nullable=False, index=True),
    Column("model", String, nullable=False, index=True),
    Column("team", String, nullable=False),
    Column("stage", String, nullable=False),
    Column("began_us", BigInteger, nullable=False, index=True),
    Column("wall_seconds", Float, nullable=False),
    Column("cpu_seconds", Float, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("peak_bytes", BigInteger),
    Column("memory_gb_seconds", Float),
    Column("read_bytes", BigInteger),
    Column("written_bytes", BigInteger),
    Column("gpu_seconds", Float),
)
