"""What people look at: the report of a replay as one HTML file, and its timeline in the terminal."""
