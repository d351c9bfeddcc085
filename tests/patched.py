"""Early pytest plugin (``-p tests.patched``): the whole suite runs patched, as production does."""

from gevent import monkey

monkey.patch_all()
