"""Lists: their parameters, their pages, and long ones piece by piece."""
