"""CPU-bound tasks: forked worker processes, so that no computation blocks the hub.

::

    daemon ──orders──▶ zygote ──forks──▶ app process ──forks──▶ worker, worker, …
       │                                     ▲                       ▲
       ├──────────────orders─────────────────┘                       │
       └──────────────frames: a run, what it asks, how it ended──────┘

The *zygote* was forked before this process had threads, sockets or a hub. An *app process* has
imported one version of the apps; *workers* are copies of it. Every process dies with the one that forked it.

`zygote`, `forkserver`, `app_process` and `worker` run in the children, `forkserver_client`, `app_version`,
`worker_handle` and `worker_pool` in the daemon. This module imports nothing: the zygote starts from it.
"""
