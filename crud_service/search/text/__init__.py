"""What counts as the same text: folding, grams, highlights."""
