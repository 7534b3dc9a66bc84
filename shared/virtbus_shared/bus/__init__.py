"""The bus: how requests, replies, events and presence travel over RabbitMQ.

``client`` is the calling half (thread-safe, synchronous), ``server`` the serving half (asyncio); ``topology`` holds
the names both agree on, ``connection`` what both know about a connection's life, ``frames`` the bytes of the two hot
paths. Nothing here looks into a body: bodies are the envelope's business. Nothing is imported by this package
itself, so that a client does not load the serving half.
"""
