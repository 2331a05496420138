"""Many samples measured: predictions, metrics with intervals, calibration, thresholds."""
