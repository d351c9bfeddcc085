"""What every store promises, told only in the words of bus/store/contract.py."""
