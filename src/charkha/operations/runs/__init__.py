"""Long work that survives: begun in a process of its own, looked at again, tried again, cancelled."""
