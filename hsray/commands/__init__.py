"""What the commands do, and what they print while they do it."""
