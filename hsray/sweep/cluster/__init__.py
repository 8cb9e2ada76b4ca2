"""The Ray that a sweep runs on: nodes and their room, what goes wrong with them, metrics, submitted jobs."""
