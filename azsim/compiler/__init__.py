"""The compiler: from a compressed graph to a program and its DRAM image.

One pass a file; `azsim.compiler.compile` calls them in order, and ``azsim list passes`` shows them.
"""
