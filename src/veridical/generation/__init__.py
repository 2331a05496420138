"""Makers of fakes for training and testing, one file per way to make them."""
