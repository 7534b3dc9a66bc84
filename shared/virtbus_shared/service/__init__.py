"""The half of shared that only services use.

``daemon`` wires one process, ``inprocess`` one node inside the caller's process; both run ``runtime.ServiceRuntime``.
A request goes ``dispatch`` -> ``access`` -> handler (``handlers``) -> driver (``driver``), in its object's turn
(``objects``), and leaves its changes, its journal entry and its events in one transaction of the ``store``, from
where ``outbox`` publishes the events. ``settings``, ``logs``, ``metrics`` and ``http`` are what a person sees.
"""
