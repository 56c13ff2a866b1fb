"""Renders scenes with codes and trains the bundled detector on them. Never imported by the running system."""

VERSION = 6
"""Of what is rendered and how it is trained on; the manifest of weights says which made them."""

WEIGHTS, RECORD = "weights.npz", "record.json"
"""What a training leaves in its folder."""
