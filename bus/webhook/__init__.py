"""The public listener: receives deliveries, verifies their senders, publishes them as events.

::

    endpoint  finds the hook that a request names
    delivery  one delivery → one durable event → 202, step by step
    admission turns deliveries away while there are too many of them
    verify    did the sender sign this? pure
    presets   how each kind of sender signs, as rows of a table
    topic     the template of a hook's topics, filled from a delivery; pure
"""
