"""The CPU lane: tasks run in forked processes, so that nothing they do can hold up the hub.

::

    daemon ──orders──▶ zygote ──forks──▶ template ──forks──▶ worker, worker, …
       │                                    ▲                    ▲
       ├──────────────orders────────────────┘                    │
       └──────────────frames: a run, what it asks, how it ended──┘

The *zygote* was forked before this process had threads, sockets or a hub. A *template* has imported
one edition of the apps; *workers* are copies of it. Every process dies with the one that forked it.

`nursery`, `zygote`, `template` and `worker` run in the children, `parent`, `edition`, `peer` and
`farm` in the daemon. This module imports nothing: the zygote starts from it.
"""
