"""The operator: it looks at what is, decides, and does one idempotent step."""
