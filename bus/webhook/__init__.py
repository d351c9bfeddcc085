"""The public listener: receives deliveries, verifies their senders, publishes them as events.

::

    endpoint  finds the hook that a request names
    delivery  one delivery → one durable event → 202, step by step
    admission turns deliveries away while there are too many of them
    verify    did the sender sign this? pure
    content   the value of a body, or the events that one request brings
    request   what a sender asked for, as one value
    identity  which delivery it is, and by what it is recognised when it comes again; pure
    delivery_log  records of what stored nothing: refused deliveries, repetitions, answered handshakes
    redaction what of a stranger's head these records may show; pure
    topic     the template of a hook's topics, filled from a delivery; pure
"""
