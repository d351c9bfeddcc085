"""What keeps the queue in order beside the tasks: one long-lived loop a file."""
