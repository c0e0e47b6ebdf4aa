"""What earlier builds of a tree have left, for the next one."""
