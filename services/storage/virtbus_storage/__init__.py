"""The storage service: storage pools and storage volumes of one node.

The map: ``service`` declares it and ``__main__`` runs it. ``object`` is a pool with its volumes in memory and in the
store; ``pools`` and ``volumes`` serve the rows of the table; ``driver`` says what a driver is and ``drivers`` holds
those shipped here. ``directory`` and ``images`` are what a dir pool does on the host, ``xml`` the documents.
"""
