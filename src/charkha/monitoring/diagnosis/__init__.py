"""What broke, where, since when, and what to do about it: or that nothing did."""
