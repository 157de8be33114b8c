"""What the tests are made with: things that behave, under their own names, and no mocks.

keys        master key, publisher key and certificate; how letters are signed
databases   catalogs and histories as SQLite files of every schema, and ways to spoil them
publisher   a whole signed repository in memory, which a test publishes to and tampers with
fixture     the repository that the real publisher made
"""
