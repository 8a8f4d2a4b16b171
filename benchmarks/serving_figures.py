"""The figures that serving has to show, each with its target."""

from claims import at_least, at_most, below, exactly, in_words

FIGURES = (
    at_least("fields", "fields_qps_64", 20_000),
    below("fields", "fields_p95_ms", 10),
    exactly("fields", "fields_answers_not_in_the_log", 0),
    at_least("floor", "fields_qps_over_bare_stack", 0.65),
    at_least("peers", "fields_qps_over_best_peer", 4),
    at_least("peers", "fields_qps_over_bentoml", 15),
    at_least("fraud", "fraud_qps_64", 12_000),
    below("fraud", "fraud_p95_ms", 10),
    exactly("fraud", "fraud_answers_not_in_the_log", 0),
    below("fraud", "fraud_4_connections_p99_ms", 5),
    at_least("shadow", "fraud_with_shadow_qps", 8_000),
    at_least("overload", "goodput_512_connections_over_capacity", 0.9),
    below("overload", "goodput_512_connections_p99_ms", 50),
    at_least("overload", "goodput_2x_over_capacity", 0.9),
    below("overload", "goodput_2x_p99_ms", 50),
    at_least("overload", "goodput_5x_over_capacity", 0.9),
    below("overload", "goodput_5x_p99_ms", 50),
    exactly("overload", "overload_answers_neither_200_nor_429", 0),
    in_words("memory", "memory_end_over_begin", "within 5 %"),
    below("start", "import_charkha_seconds", 0.3),
    below("start", "serve_ready_seconds", 2),
    at_most("scoring", "bulk_scoring_cpu_over_lightgbm", 1.2),
    exactly("swaps", "hot_swaps_failed_requests", 0),
    at_most("swaps", "hot_swaps_p99_over_steady", 2),
    exactly("kills", "worker_kills_after_which_the_rest_stood_still", 0),
    exactly("kills", "worker_kills_acknowledged_lost", 0),
    exactly("kills", "worker_kills_logged_twice", 0),
)
