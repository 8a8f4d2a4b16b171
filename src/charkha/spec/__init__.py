"""What users declare: frozen, typed, without I/O."""
