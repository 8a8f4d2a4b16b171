"""What every peer is given: the model's file by the environment, and the order of its columns."""

import os

FIELDS = (*(f"f{i:02d}" for i in range(30)), "merchant", "country")
CATEGORIES = FIELDS[30:]
MODEL = os.environ.get("BENCHMARK_MODEL", "model.txt")
PORT = int(os.environ.get("BENCHMARK_PORT", "8000"))
WORKERS = int(os.environ.get("BENCHMARK_WORKERS", "1"))
# More threads a call make a server slower: they wait for each other.
THREADS = 1
