"""How a version comes to be the champion: candidate, shadow, canary, A/B test; and what stops it on the way."""
