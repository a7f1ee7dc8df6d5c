"""Erases what deleted chats and applications leave: rows, search, and keys in Redis."""
