"""Whole sweeps under faults made for real. Not part of a plain `pytest`: `make reliability`, or name the folder."""
