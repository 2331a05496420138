"""Shapes of data sets; the file's name is the shape's name, and each defines `read(data) -> list[Sample]`."""
