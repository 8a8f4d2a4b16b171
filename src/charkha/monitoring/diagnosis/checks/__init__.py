"""The checks of a diagnosis: each family is one module with one function from a case to signals."""
