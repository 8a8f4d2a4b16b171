"""Bulk scoring: the server's numbers for files of rows, part by part."""
