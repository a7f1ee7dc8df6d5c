"""The hot path: a request becomes a creation, a batch, a number, an answer."""
