"""Swagger UI, which both services serve at `/docs`: what its page may load."""

# It uses inline styles and icons in data: URLs.
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
