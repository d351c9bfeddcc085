"""One guarantee of the product switched off, from outside: functions that replace one named thing of it.

`weakened.py` calls one of them in a process that is patched by gevent and has built nothing yet. A
control names it as ``module.function``.
"""
