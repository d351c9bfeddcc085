"""The running system: one long-lived greenlet a file, each a Loop whose tick returns its pause."""
