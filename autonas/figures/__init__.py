"""Drawings of reports as Plotly figures. The only home of Plotly; what is drawn is worked out in reporting/.

A mark that shows a trial carries its number as `customdata`: that is what links the drawings of a page with one another.
"""
