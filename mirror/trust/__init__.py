"""Who may say so: bytes, keys and a moment go in; trusted values or a TrustError come out.

    master key ──signs──► whitelist ──lists──► certificate ──signs──► manifest ──names──► everything

    master_keys        the public halves we were given
    signature          the two kinds of RSA signature
    trusted_ensemble   the links of the chain, accepted in the one right order
    rollback           and never a step back from what we already serve
    newest             which of several chains that hold, each from another source

No disk, no network, and "now" is read once, by the caller. Broken data is a TrustError or a
FormatError; calling in the wrong order is a RuntimeError, a mistake of ours.
"""
