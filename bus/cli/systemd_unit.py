"""The systemd units that `init` writes: the daemon, started, watched and fenced in, and its socket."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Final

from ..config.value_types import Listen, host_port

_HOMES: Final = (Path("/home"), Path("/root"), Path("/run/user"))

_UNIT: Final = Template("""\
# monqbus under systemd. To use it, as root:
#   useradd --system --home-dir $plain --shell /usr/sbin/nologin monqbus
#   chown -R monqbus: $plain
#   cp $plain/monqbus.service $plain/monqbus.socket /etc/systemd/system/
#   systemctl daemon-reload && systemctl enable --now monqbus.socket monqbus.service
# monqbus.socket keeps the port while the daemon is restarted. Without it, leave it out of both lines.
# Changes go into /etc/systemd/system/monqbus.service.d/*.conf (systemctl edit monqbus).
#
# The log is in the journal: journalctl -u monqbus -f. For files instead, make their folder
#   install -d -m 0750 /var/log/monqbus
# (LogsDirectory= would come too late: the file is opened before), put into such a .conf
#   [Service]
#   StandardError=append:/var/log/monqbus/monqbus.log
# and let logrotate copy and truncate, because the file is kept open: /etc/logrotate.d/monqbus
#   /var/log/monqbus/*.log {
#       weekly
#       rotate 8
#       compress
#       missingok
#       notifempty
#       copytruncate
#   }

[Unit]
Description=monqbus: webhooks and events in, tasks run
After=network-online.target
Wants=network-online.target
# its folder may be on a disk of its own
RequiresMountsFor=$place
# no limit: MongoDB may be away for longer than any number of starts, and then be back
StartLimitIntervalSec=0

[Service]
User=monqbus
# "started" means that it listens; STATUS in `systemctl status` says what it does
Type=notify
# the port of monqbus.socket, if that is installed; else the daemon opens [http] listen itself
Sockets=monqbus.socket
# the executable is two processes, and the second one is the daemon
NotifyAccess=all
ExecStart=$program run --config $config
# new configuration and apps; bad ones are refused, and the old ones stay
ExecReload=/bin/kill -HUP $$MAINPID
WorkingDirectory=$directory
# secrets without a file that the daemon's user can read at other times: secret = credential:NAME
#LoadCredential=NAME:/etc/monqbus/NAME

# it beats twice a minute; a task that holds up everything else for a minute has it killed and started anew
WatchdogSec=60
# also after exit code 0: a task may have called os._exit(0). `systemctl stop` stays stopped.
Restart=always
RestartSec=2
# usage, configuration: the next start would fail the same way. What may pass is tried again: a store that
# another process has (73), a folder, file or address that cannot be used for now (75), MongoDB away (69)
RestartPreventExitStatus=64 78
# the first start of a new version may upgrade a large store, or wait for another daemon that does
TimeoutStartSec=15min
# TERM reaches the daemon alone: it lets tasks end, with their workers and commands, and asks for the
# time that [worker] drain needs. What is left then is killed.
KillMode=mixed
TimeoutStopSec=35
# a worker that takes too much memory dies, the daemon lives and counts it
OOMPolicy=continue
LimitNOFILE=65536
TasksMax=1024
#MemoryMax=2G

# Files: all is read-only but data_dir and the folders below. What else your tasks write to: ReadWritePaths.
UMask=0077
ProtectSystem=strict
ProtectHome=$protect_home
ReadWritePaths=$data
PrivateTmp=yes
# the executable unpacks itself here, where nobody else can write, programs may run and no cleaner comes
CacheDirectory=monqbus
CacheDirectoryMode=0700
Environment=TMPDIR=%C/monqbus

# Rights: those of its user and no more, whatever it starts. A command with `user =` needs root: then set
#   User=root
#   CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_KILL CAP_CHOWN CAP_DAC_OVERRIDE
#   SystemCallFilter=@setuid @chown
#   CacheDirectoryMode=0711
# so that the command's user is given its event in a file, and can get at it. Root runs nothing that others
# can write, so the place is root's then: chown -R root: $plain
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
RestrictSUIDSGID=yes
LockPersonality=yes
# Kernel and machine: nothing to see, nothing to change. ProcSubset=pid is left out on purpose: by the
# boot's number the daemon knows that an earlier one is dead, and takes its tasks back at once.
PrivateDevices=yes
ProtectProc=invisible
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RemoveIPC=yes
KeyringMode=private
# Sockets: TCP, UDP and the local ones, nothing raw
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
# System calls: those of services, without the privileged ones. Others fail, they do not kill.
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
# Memory that is written and then run: forbid it when no app compiles at run time (numba, cffi callbacks)
#MemoryDenyWriteExecute=yes

[Install]
WantedBy=multi-user.target
""")

_SOCKET: Final = Template("""\
# The port of monqbus, kept by systemd: connections wait in its queue while the daemon is restarted, and
# none is refused. monqbus.service tells how it is installed. To stop both, so that the port is closed:
#   systemctl stop monqbus.socket monqbus.service

[Unit]
Description=the port of monqbus

[Socket]
# the same as [http] listen in $config; else the daemon says so and ends with exit code 78
$listen
FileDescriptorName=http
# so many connections wait while no daemon runs; the kernel's net.core.somaxconn may be lower
Backlog=4096
NoDelay=yes

[Install]
WantedBy=sockets.target
""")


def socket_unit(directory: Path, listen: Sequence[Listen]) -> str:
    """The .socket unit of the place *directory*, whose configuration says *listen*."""
    lines = [f"ListenStream={one if isinstance(one, Path) else host_port(*one)}" for one in listen]
    return _SOCKET.substitute(config=directory / "monqbus.ini", listen="\n".join(lines))


def unit(program: Path, directory: Path, data_dir: Path) -> str:
    """The unit of the place *directory*, run by *program*; all paths absolute."""
    lives_at_home = any(path.is_relative_to(home) for path in (program, directory) for home in _HOMES)
    return _UNIT.substitute(
        program=_word(program),
        config=_argument(directory / "monqbus.ini"),
        data=_word(data_dir),
        place=_word(directory),
        directory=_escaped(directory),
        plain=shlex.quote(str(directory)),
        protect_home="read-only" if lives_at_home else "yes",
    )


def _argument(path: Path) -> str:
    """*path* as an argument of a command line, where alone $ begins a variable; systemd.service(5)."""
    return _word(path).replace("$", "$$")


def _word(path: Path) -> str:
    """*path* as one word of a unit file's line; systemd.syntax(7)."""
    text = _escaped(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"' if any(sign in text for sign in " \t'\"\\") else text


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")
