"""`make demo`: a real guest on a node of its own, driven through RabbitMQ as any program would drive it.

`__main__` is what the user starts: it makes a folder and a private network namespace and waits. `story`, inside, is
what is shown, one act a function; `parts` are the documents and the listeners it needs, `tables` its two tables,
`screen` all of its output. `inprocess` is the shorter story for a machine without a broker.

The broker, the daemons and the guest image are those of the tests (`tests.support`): a demo of anything else than what
is tested would prove less.
"""
