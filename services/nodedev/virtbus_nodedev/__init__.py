"""The node device service: the devices of a host, and the facts about the host itself.

The map: ``service`` declares it and ``__main__`` runs it. ``handlers`` answers, from what a driver keeps in memory;
``driver`` says what a driver is and ``drivers`` holds those shipped here. ``udev`` and ``sysfs`` read devices, ``host``
reads the host, ``xml`` is the documents.
"""
