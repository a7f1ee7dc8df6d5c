"""Search: one folded text, two indexes that follow the table, and the queries."""
