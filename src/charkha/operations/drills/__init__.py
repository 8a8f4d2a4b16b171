"""Drills: recorded traffic with incidents put into it, to see what would be caught, how fast and under which name."""
