"""Signatures of bundles, kits and field reports: who made a file, and that it was not changed since.

Ed25519 keys and detached signatures in OpenSSH's formats, so that `ssh-keygen` reads and checks them too.
`key_files` makes and reads keys, `signatures` signs and checks. The computation is that of the package
cryptography (extra `sign`), which is imported when it is needed.
"""

__all__ = ["key_files", "openssh", "signatures"]
