"""The example app that `init` writes beside the configuration."""

HELLO = '''\
"""The smallest app: one handler for a webhook, and a task that it posts."""

from monqbus import event_handler, task


@event_handler("hello.greeted")
def greet(topic, event):
    """Runs for each delivery to /hooks/hello; *event.body* is what was sent."""
    name = event.body.decode() or "world"
    print(f"Hello, {name}!")
    count_letters.post(name)


@task(max_attempts=3, timeout=30)
def count_letters(name):
    """Stored before `greet` goes on, and retried on its own."""
    print(f"{name!r} has {len(name)} letters")
    return len(name)
'''
