"""Detectors compared on stored predictions: one HTML page, and its tables and lists as files."""
