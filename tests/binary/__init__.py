"""What only concerns the executable: what is in it, how it starts, dies, and leaves nothing behind."""
