"""Explanation: the words for people, in one room; verdicts and detectors give codes and numbers."""
