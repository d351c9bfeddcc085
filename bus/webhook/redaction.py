"""What of a stranger's head goes into the delivery log: values that may be secret do not. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Final

from ..safe_text import cached_if_short, without_surrogates
from ..senders.kept import is_kept

REDACTED: Final = "(redacted)"
MOST_HEADERS: Final = 64
LONGEST_VALUE: Final = 256

# beyond what is never stored with an event: nobody has verified these, and a proof may stand under any name;
# an address may hold a token in its query
_SECRET: Final = re.compile(
    r"auth|sign|hmac|digest|credential|session|jwt|bearer|passw|passphrase|nonce|referer|ur[il]$|^(?:key|sig)$"
    r"|-sig$|private"
)


@cached_if_short(1024)
def may_be_secret(header: str) -> bool:
    """Whether the value of a header of this lower-case name is never logged."""
    return not is_kept(header) or bool(_SECRET.search(header))


def redacted(
    headers: Mapping[str, str], secrets: Collection[str], also: Callable[[str], bool] = lambda _: False
) -> dict[str, str]:
    """*headers* for the log: values that may be secret are replaced, long ones cut, and so is their number.

    *secrets* are the hook's own: whatever holds one is replaced, under any name. *also* tells of more names.
    """
    shown: dict[str, str] = {}
    for name, value in headers.items():
        if len(shown) >= MOST_HEADERS:
            break
        is_hidden = may_be_secret(name) or also(name) or any(one in value for one in secrets if one)
        shown[without_surrogates(name)] = REDACTED if is_hidden else without_surrogates(value[:LONGEST_VALUE])
    return shown
