"""Lists and searches: from a query string to an answer, in one piece or streamed."""
