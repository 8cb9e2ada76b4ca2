"""The formats that sheets are written in, one a file."""
