"""The network service: virtual networks of one node.

The map: ``service`` declares it and ``__main__`` runs it. ``object`` is a network in memory and in the store,
``handlers`` serves the rows of the table, ``driver`` says what a driver is and ``drivers`` holds those shipped here.
``bridge`` is what a running network is on the host, ``xml`` the documents.
"""
