"""A validator: challenges, what was answered to them, scores, and weights for the chain."""
