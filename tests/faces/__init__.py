"""Claims about what monqbus shows to the outside: answers to people, senders and programs."""
