"""Keeping replicas sound.

check         is everything there that the manifest and the tags refer to?
"""
