"""Where a kernel runs: a pure function over buckets of keys, on this process or, at scale, on a cluster."""
