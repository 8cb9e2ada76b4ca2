"""Looking after sweeps from outside, without Ray: where they stand, what they left, and mending it."""
