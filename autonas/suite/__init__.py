"""`autonas evaluate`: everything that can be asked of a finished run, part by part.

What a part measures is in evaluation/; which parts there are is in parts.py, how they are done, kept and gone on with in
running.py, and how two runs are compared in comparison.py.
"""
