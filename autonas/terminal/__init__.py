"""What runs, on a terminal: one live panel, or a few plain lines where nobody watches. Decides nothing."""

from autonas.terminal.run import RunDisplay
from autonas.terminal.study import StudyDisplay

__all__ = ["RunDisplay", "StudyDisplay"]
