"""A whole market in memory: miners of known skill, cheats, validators, and Yuma consensus over many epochs."""
