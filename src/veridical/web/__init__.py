"""HTTP machinery: bodies and their limits, keys, refusals, metrics; knows nothing of what is served."""
