"""Renders scenes with codes and trains the bundled detector on them. Never imported by the running system."""

VERSION = 6
"""The version of rendering and training; manifests name the version that made the weights."""

WEIGHTS, RECORD = "weights.npz", "record.json"
"""The files that a training writes into its folder."""
