"""Spoken commands: a grammar, voices that speak it, and the corpus that they make.

docs/speech.md says how the corpus is made and what is in it.
"""
