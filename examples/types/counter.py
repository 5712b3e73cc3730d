#!/usr/bin/env python3
"""A resource type of stead in Python: a TCP server that counts its visitors and keeps the count in a file.

Installed as /etc/stead/types/counter it is the type `ext:counter`. The upper half speaks the protocol of
docs/reference/external-types.md and can be copied as it is; the lower half is the type.
"""

import json
import os
import socket
import sys
import threading

# ---------------------------------------------------------------------------------- the protocol

PROTOCOL = 1


class Failed(Exception):
    """A call did not work; its text is one sentence for people."""


class Call:
    """One call: its number, whether it shall return early, what it says meanwhile."""

    def __init__(self, program, number):
        self.program, self.number, self.cancelled = program, number, threading.Event()

    def progress(self, text):
        self.program.say(say="progress", id=self.number, text=text)

    def wait(self, seconds):
        if self.cancelled.wait(seconds):
            raise Failed("it was cancelled")


class Program:
    """Reads orders from stdin and makes each call in a thread; one program is one resource."""

    def __init__(self, describe, open_resource):
        self.describe, self.open_resource = describe, open_resource
        self.resource, self.calls, self.lock = None, {}, threading.Lock()
        # stdout belongs to the protocol: whatever else prints goes to stderr, which stead keeps.
        self.out = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        os.set_inheritable(1, True)

    def say(self, **message):
        line = json.dumps(message).encode() + b"\n"
        with self.lock:
            self.out.write(line)

    def broke(self, text):
        self.say(say="broke", text=text)

    def run(self):
        for line in sys.stdin.buffer:
            try:
                order = json.loads(line)
                number, name = order["id"], order["call"]
            except (ValueError, KeyError, TypeError):
                continue
            if name == "cancel":
                call = self.calls.get(number)
                if call:
                    call.cancelled.set()
                continue
            call = self.calls[number] = Call(self, number)
            threading.Thread(target=self.make, args=(call, name, order), daemon=True).start()

    def make(self, call, name, order):
        try:
            result = self.perform(call, name, order)
            self.say(say="done", id=call.number, **({} if result is None else {"result": result}))
        except Exception as why:  # noqa: BLE001 - whatever it is, stead is told
            self.say(say="failed", id=call.number, text=str(why) or repr(why))
        finally:
            self.calls.pop(call.number, None)
        if name == "close":
            os._exit(0)

    def perform(self, call, name, order):
        if name == "describe":
            if PROTOCOL not in order["protocols"]:
                raise Failed(f"it speaks version {PROTOCOL} of the protocol, stead speaks {order['protocols']}")
            return {"protocol": PROTOCOL, **self.describe}
        if name == "open":
            if self.resource is not None:
                raise Failed("it is open already")
            self.resource = self.open_resource(self, order)
            return None
        if name == "close":
            return None
        if self.resource is None:
            raise Failed("it is not open")
        if name == "control":
            return {"text": self.resource.control(call, order["code"], order.get("text", ""))}
        if name == "looks-alive":
            name = "is-alive"
        result = getattr(self.resource, name.replace("-", "_"))(call)
        if name == "is-alive":
            health, text = result
            return {"health": health, "text": text}
        return None


# -------------------------------------------------------------------------------------- the type

DESCRIPTION = {
    "name": "counter",
    "version": "1.0",
    "about": "counts its visitors",
    "properties": [
        {"name": "port", "form": "number", "required": True, "about": "TCP port on 127.0.0.1"},
        {"name": "file", "form": "path", "required": True, "about": "where the count is kept"},
        {"name": "delay-ms", "form": "number", "default": "0", "about": "a slow start"},
    ],
    "controls": [
        {"code": "count", "about": "how many visitors came"},
        {"code": "set", "about": "sets the count"},
        {"code": "break", "about": "the server ends, to rehearse a failure"},
    ],
    "data": ["file"],
    "trial": {"write": "set", "read": "count"},
}


class Counter:
    def __init__(self, program, opening):
        properties = opening["properties"]
        self.program, self.file = program, properties["file"]
        self.port, self.delay = int(properties["port"]), int(properties["delay-ms"]) / 1000
        if not 0 < self.port < 65536:
            raise Failed(f"property `port` cannot be `{self.port}`")
        self.count, self.listener, self.lock = 0, None, threading.Lock()

    def online(self, call):
        if self.listener:
            return
        call.progress("reading the count")
        call.wait(self.delay)
        self.count = self.read()
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", self.port))
        except OSError as why:
            listener.close()
            raise Failed(f"port {self.port} cannot be used: {why}")
        listener.listen()
        self.listener = listener
        threading.Thread(target=self.serve, args=(listener,), daemon=True).start()

    def offline(self, call):
        listener, self.listener = self.listener, None
        if listener:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    terminate = offline

    def is_alive(self, call):
        if not self.listener:
            return "bad", "it is offline"
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=3) as visitor:
                visitor.sendall(b"check\n")
                return ("good", "") if visitor.recv(64) else ("bad", "it says nothing")
        except TimeoutError:
            return "unknown", "it does not answer in time"
        except OSError as why:
            return "bad", f"it does not answer: {why}"

    def control(self, call, code, text):
        if not self.listener:
            raise Failed("it is offline")
        if code == "count":
            return str(self.count)
        if code == "set":
            with self.lock:
                self.write(int(text))
            return ""
        if code == "break":
            self.listener.shutdown(socket.SHUT_RDWR)
            return ""
        raise Failed(f"there is no control code `{code}`")

    def serve(self, listener):
        while True:
            try:
                visitor, _ = listener.accept()
            except OSError as why:
                if self.listener is listener:
                    self.program.broke(f"the server ended: {why}")
                return
            with visitor:
                try:
                    visitor.settimeout(3)
                    if visitor.recv(64) != b"check\n":
                        with self.lock:
                            self.write(self.count + 1)
                    visitor.sendall(f"{self.count}\n".encode())
                except OSError as why:
                    print(f"a visitor was lost: {why}", file=sys.stderr)

    def read(self):
        try:
            with open(self.file, encoding="ascii") as file:
                return int(file.read())
        except FileNotFoundError:
            return 0

    def write(self, count):
        """Whole or not at all, and durable when it returns."""
        with open(self.file + ".next", "w", encoding="ascii") as file:
            file.write(f"{count}\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(self.file + ".next", self.file)
        folder = os.open(os.path.dirname(self.file), os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        self.count = count


if __name__ == "__main__":
    Program(DESCRIPTION, Counter).run()
