"""The name that was probably meant: by the whole, else by its last part."""

from __future__ import annotations

import pytest

from bus.config import nearest_name

NAMES = ["myteam.billing.send_invoice", "myteam.mail.send", "shop.Sold"]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("myteam.mail.sned", "myteam.mail.send"),
        ("send_invoice", "myteam.billing.send_invoice"),
        ("send_invocie", "myteam.billing.send_invoice"),
        ("other.module.send", "myteam.mail.send"),
        ("SOLD", "shop.Sold"),
        ("elsewhere", ""),
        ("other.module.sned", ""),
        ("", ""),
    ],
)
def test_a_name_is_found_by_the_part_that_people_remember(text, meant):
    """A name with another path is only believed when its last part is right to the letter."""
    assert meant == nearest_name(text, NAMES)


def test_among_no_names_none_was_meant():
    assert "" == nearest_name("a", [])
