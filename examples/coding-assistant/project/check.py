"""What prices.py promises: `python3 project/check.py`."""

import sys

sys.dont_write_bytecode = True
sys.path.insert(0, "project/src")

from prices import total

CASES = [([(250, 2)], 0, 500), ([(1000, 1)], 10, 900), ([(199, 3), (1, 4)], 50, 301)]

wrong = 0
for basket, discount, expected in CASES:
    found = total(basket, discount)
    wrong += found != expected
    print("ok   " if found == expected else "WRONG", basket, f"less {discount} %:", found)
sys.exit(wrong > 0)
