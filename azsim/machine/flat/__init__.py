"""Instructions as rows of numbers, and one compiled loop that executes them.

What an instruction does is stated in `azsim.machine.instructions`; this package does the same for
the kinds that large models execute most, on memory that is shown by number.  A row holds
the instruction's kind and choices and the numbers of its views (`columns`); a row of the views'
table (`lines`) where a view lies in the arena (`azsim.machine.state.Machine`) and how it strides.
Nothing is checked here but what depends on data: who makes the rows has done so.
"""
