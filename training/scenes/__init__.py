"""Renders scenes with codes, each from its seed alone."""
