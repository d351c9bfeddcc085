"""Claims about the CPU lane, on a real zygote and real workers."""
