"""What is known of every trial: one Optuna study a cell, in a file or a database, and how it is made whole again."""
