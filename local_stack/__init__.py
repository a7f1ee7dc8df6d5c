"""The whole system on one machine: embedded stores and our processes, supervised."""
