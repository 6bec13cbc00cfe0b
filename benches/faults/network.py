"""Owns network namespaces, in which servers can be cut off from each other; `ip` and root are needed."""

import os
import subprocess


class Network:
    """Network namespaces: a bridge in one, in which clients run, and each server in one of its own."""

    def __init__(self):
        self.names = []
        self.make("hub")
        # With an address of its own: it would take another when a host is cut off, and nobody would find the client.
        self.hub("link", "add", "name", "bridge", "address", "02:00:00:00:00:01", "type", "bridge")
        self.hub("address", "add", "10.99.0.1/24", "dev", "bridge")
        self.hub("link", "set", "bridge", "up")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)

    def make(self, name):
        name = f"faults-{os.getpid()}-{name}"
        ip("netns", "add", name)
        self.names.append(name)
        ip("-n", name, "link", "set", "lo", "up")

    def hub(self, *words):
        ip("-n", self.names[0], *words)

    def add(self):
        """A new host; its number."""
        host = len(self.names)
        self.make(str(host))
        there = ["name", "eth0", "netns", self.names[host]]
        self.hub("link", "add", "name", f"host{host}", "type", "veth", "peer", *there)
        self.hub("link", "set", f"host{host}", "master", "bridge", "up")
        ip("-n", self.names[host], "address", "add", self.address(host) + "/24", "dev", "eth0")
        ip("-n", self.names[host], "link", "set", "eth0", "up")
        return host

    def address(self, host):
        return f"10.99.0.{host + 1}"

    def inside(self, host):
        """What comes before a command that is to run there; clients are at home in the hub."""
        return ["ip", "netns", "exec", self.names[host or 0]]

    def cut(self, host):
        self.hub("link", "set", f"host{host}", "nomaster")

    def join(self, host):
        self.hub("link", "set", f"host{host}", "master", "bridge")

    def mute(self, host, to):
        """Frames to others carry an address that nobody has: they are lost in silence, and all answers still come."""
        for other in to:
            where = [self.address(other), "lladdr", "02:00:00:00:00:fe", "dev", "eth0", "nud", "permanent"]
            ip("-n", self.names[host], "neighbour", "replace", *where)

    def unmute(self, host, to):
        for other in to:
            ip("-n", self.names[host], "neighbour", "delete", self.address(other), "dev", "eth0")


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
