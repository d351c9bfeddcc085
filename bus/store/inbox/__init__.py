"""The inbox: files into which other processes post durably, whether a daemon runs or not.

Each posting process appends to a file of its own, so that one which is stopped or killed in the middle holds
up nobody; the daemon reads all of them and stores what they hold under the ids that were chosen there.
"""
