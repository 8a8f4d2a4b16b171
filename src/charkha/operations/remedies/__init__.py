"""What is done about each cause of an incident, and how it is undone when the incident is over."""
