"""Labelled pictures for training and measuring: sources, seeded batches, perturbations."""
