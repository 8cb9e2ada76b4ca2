"""The mirror and the leaderboard under bad input, kills, damage, servers and PostgreSQL, all for real."""
