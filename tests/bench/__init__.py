"""`make bench`: what virtbus costs, as ratios to a floor taken in the same run.

``python -m tests.bench`` runs all parts and prints one table; ``--only rpc,life`` runs some. ``rpc``, ``listing``,
``life``, ``hung`` and ``opening`` are the parts, ``measure`` and ``floor_echo`` what they stand on, ``bus_floor`` a
finer look at the bus alone. Absolute times mean little on a shared machine; compare ratios.
"""
