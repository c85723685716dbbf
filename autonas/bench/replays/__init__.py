"""Searches on a table of finished trials in virtual time: who takes part, how they run, what is said of them.

bench/search.py is the bench; tables are read by bench/table_file.py.
"""
