"""Byte accounting: proves that the bytes of the scored tokens are the bytes of the text."""
