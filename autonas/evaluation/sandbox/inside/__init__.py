"""What runs within the walls. Only the standard library and these files themselves; autonas' own process runs only `values`.

The files are handed over compiled, as modules of a package called `inside`. So they import each other relatively, and nothing
else of autonas, which does not exist within the walls.
"""
