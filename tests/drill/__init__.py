"""The drill: kills, mutated files, hostile input and load, and what the product does about them.

`make drill` runs every part at full length and prints a table; the tests run each part briefly.
"""
