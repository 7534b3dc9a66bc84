"""What every part of virtbus knows.

``procedure`` says what a row of the table is and ``api`` is the table: every call and every event, declared once.
``envelope`` is the form in which a call travels, ``errors`` and ``constants`` are libvirt's own. ``bus`` carries
envelopes through RabbitMQ. ``service`` is the half that only services use: dispatch, journal, metrics, XML.
"""

__version__ = "0.1.0"
