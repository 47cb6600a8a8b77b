"""What the command line takes: commands, options, completion.  Standard library only."""

from azsim.arguments.completion import shell_functions, study_names
from azsim.arguments.parser import build_parser

__all__ = ["build_parser", "shell_functions", "study_names"]
