"""Renders scenes with codes and trains the bundled detector on them. Never imported by the running system."""
