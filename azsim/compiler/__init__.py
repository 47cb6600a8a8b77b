"""The compiler: from a compressed graph to a program and its DRAM image.

One pass a file, in this order (see `azsim.compiler.compile`): lower (the operators' own, in
`azsim.ops`), tile, order, allocate, image, emit, synchronize.
"""
