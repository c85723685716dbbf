"""Tests of autonas/data, a package so that its file names may occur in other folders too."""
