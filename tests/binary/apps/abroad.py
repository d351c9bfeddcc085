"""What the executable finds on a machine that is not its builder's."""

import ssl
from zoneinfo import ZoneInfo

from monqbus import task


@task(max_attempts=1)
def roots():
    return len(ssl.create_default_context().get_ca_certs())


@task(max_attempts=1)
def zone():
    return str(ZoneInfo("Europe/Berlin"))
