"""Measures the running system beside its peers. Run by hand (`make bench`), never in the test suite."""
