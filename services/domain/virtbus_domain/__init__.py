"""The domain service: virtual machines and containers of one node.

The map: ``service`` declares it and ``__main__`` runs it. ``object`` is a domain in memory and in the store. The
handlers stand in ``lookup`` (finding domains), ``definition`` (documents), ``lifecycle`` (start to stop) and ``facts``
(what is known without asking a hypervisor); ``moves`` is how a domain changes state. ``driver`` says what a hypervisor
driver is, ``drivers`` holds those shipped here, ``xml`` the documents.
"""
