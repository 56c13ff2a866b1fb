"""Pictures without a code: what codes lie on, and what is most easily taken for a code."""
