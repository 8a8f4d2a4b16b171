"""Questions to the ledger: what was, why, what else could have been, and whether the rules would say so again."""
