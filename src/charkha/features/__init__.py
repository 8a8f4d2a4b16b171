"""Features: the same numbers offline and online, from one declaration and one kernel."""
