"""The figures that the feature store has to show, each with its target."""

from claims import at_least, at_most, exactly, in_words

FIGURES = (
    exactly("join", "join_rows_unlike_the_oracle", 0),
    at_most("join", "join_cpu_over_numpy_floor", 1.5),
    at_most("join", "join_peak_rss_gib", 1.5),
    exactly("join", "join_keyed_rows_unlike_loops", 0),
    at_most("join", "join_keyed_cpu_over_numpy_floor", 1.5),  # NO today: the floor looks for no corrections
    in_words("join", "join_keyed_peak_rss_gib", "reported"),
    exactly("feast-join", "join_rows_unlike_feast_100k_asked_1m_rows", 0),
    at_least("feast-join", "feast_duckdb_cpu_over_join", 4),
    at_least("feast-join", "feast_duckdb_cpu_over_join_100k_asked_1m_rows", 4),
    in_words("feast-join", "feast_duckdb_cpu_over_join_with_imports", "reported"),
    exactly("windows", "windows_unlike_the_obvious_version", 0),
    at_most("windows", "windows_cpu_10m_events_over_1m", 12),
    in_words("windows", "windows_cpu_10m_events_over_1m_and_questions", "reported"),
    at_most("windows", "windows_cpu_over_polars_rolling", 1),
    at_most("memory", "memory_peak_rss_over_a_quarter_of_the_rows", 1.1),
    at_most("memory", "memory_peak_rss_gib", 1.5),
    at_most("reads", "read_1_key_cpu_us", 25),
    at_most("reads", "read_100_keys_cpu_ms", 0.6),
    at_most("reads", "read_100_keys_with_windows_cpu_ms", 2),
    at_least("feast-reads", "feast_redis_cpu_over_read_1_key", 25),
    at_least("feast-reads", "feast_redis_cpu_over_read_100_keys", 25),
    in_words("feast-reads", "feast_redis_cpu_over_first_read_with_imports", "reported"),
    at_least("push", "events_applied_per_cpu_second", 30_000),
    at_least("push", "events_with_windows_applied_per_cpu_second", 30_000),
    at_least("materialise", "materialised_rows_per_cpu_second", 100_000),
    in_words("materialise", "materialised_entities_per_cpu_second", "reported: an entity a view"),
    in_words("materialise", "materialised_keyed_rows_per_cpu_second", "reported"),
    in_words("materialise", "materialised_keyed_peak_rss_gib", "reported"),
    in_words("materialise", "materialised_keyed_bytes_per_row", "reported"),
    at_most("hot", "hot_key_read_cpu_over_cold", 2),
    in_words("hot", "hot_key_state_bytes", "<= 1.1 x of a tenth"),
    at_most("size", "bytes_per_entity_of_30_float32", 240),
    in_words("size", "bytes_per_entity_keyed", "reported"),
)
