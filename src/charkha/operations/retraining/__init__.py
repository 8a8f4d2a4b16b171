"""When a model is trained again, what that may cost and gain, and what it learns from."""
