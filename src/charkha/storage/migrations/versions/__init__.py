"""One file per migration, named by its revision; written once and never changed."""
