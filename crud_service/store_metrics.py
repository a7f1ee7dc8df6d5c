def store_samples() -> bytes:
    return b""
