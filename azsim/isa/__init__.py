"""The instruction set: data in ``isa/*.yaml``, and everything that is a loop over it.

`spec` reads the data, `program` holds what the compiler hands to the machine, `encode` turns
instructions into words and back, `assembly` into text and back, `program_file` keeps a program
with its DRAM image in a file, `reference` writes the manual.
"""
