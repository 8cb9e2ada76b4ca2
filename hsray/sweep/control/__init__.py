"""How a sweep is held and ended: one driver, signals, caps, the request to stop, the closing word."""
