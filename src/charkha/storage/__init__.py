"""Where bytes live: the log, the online state, the tables and the ledger; four interfaces with embedded backends."""
