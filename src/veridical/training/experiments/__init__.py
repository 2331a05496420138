"""One file per experiment; its docstring is its methods section, and it defines `EXPERIMENT`."""
