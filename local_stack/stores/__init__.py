"""The stores of the local stack, as they are installed, configured and started."""
