"""What the official SpectralEarth and HyperSIGMA compute and how their weights are named, and the script for both."""
