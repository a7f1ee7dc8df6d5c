"""From `messages` to both indexes: outbox, queue, rebuilds and checks."""
