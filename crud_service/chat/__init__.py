"""The tables, their migrations, and the statements that read them."""
