"""A chat server that anyone can join from a bare terminal."""

__version__ = "0.1.0"
