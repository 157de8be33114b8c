"""The caching proxy in front of mirrors: a mirror whose store is a cache."""
