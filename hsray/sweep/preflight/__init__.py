"""What can be known before hours are spent: runs, time, memory, disk, and whether every node sees what it needs."""
