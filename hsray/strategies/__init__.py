"""How knowledge is transferred: strategy as data, adapters, weights, assembly, pretraining."""
