"""What the device is, and what disturbs a measurement on it."""
