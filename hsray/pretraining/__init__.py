"""Pretraining of a spectral encoder on spectra of many sensors: `hsray pretrain`."""
