"""The process itself: its identity, its parent and children, its streams, its service manager."""
