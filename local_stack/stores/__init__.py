"""The stores of the local stack: installation, configuration and start."""
