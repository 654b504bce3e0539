"""A tagger behind an existing server: Ray Serve or MLServer, each under an extra of its own.

`package` writes the folder that a server starts from and needs no server; the modules named after servers import them.
"""
