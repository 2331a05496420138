"""Bundles: what a detector is made of on disk - read, verified, written, found by name."""
