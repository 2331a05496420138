"""One module for each format that is opened: the file's name is the format's name.

Each has `decode(data, limits) -> Decoded` and imports its decoder only when it is itself imported.
"""
