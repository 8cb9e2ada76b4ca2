"""What the reference implementations compute, kept as small files, and the script that makes them again."""
