"""Connections to Redis for calls of numbers.lua: those that wait for replicas, too."""
