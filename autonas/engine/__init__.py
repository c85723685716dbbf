"""Where jobs run. One seam (`base.Engine`), and one file per engine."""
