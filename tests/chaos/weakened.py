"""`monqbus` with one guarantee switched off: ``weakened.py MODULE.FUNCTION run --config FILE``.

For the controls of the chaos scenarios. The product itself has no such switch; the function, one of
tests/chaos/weaknesses, replaces one named thing of it before the daemon is built.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main(words: list[str]) -> int:
    """Go on as monqbus, and take the guarantee away as soon as it has patched the process.

    No sooner: before that it forks the zygote, which must be a plain process.
    """
    sys.path[0] = str(ROOT)
    from gevent import monkey

    patch = monkey.patch_all

    def patch_and_weaken() -> None:
        patch()
        module, _, function = words[0].partition(".")
        getattr(importlib.import_module(f"tests.chaos.weaknesses.{module}"), function)()

    monkey.patch_all = patch_and_weaken
    import monqbus

    return monqbus.main(words[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
