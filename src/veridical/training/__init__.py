"""A detector is made: experiments, the loop, checkpoints, export."""
