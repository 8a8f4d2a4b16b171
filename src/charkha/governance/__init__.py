"""What people outside the team may ask of a model: its card, and the ledger as a file they can check."""
