import socket
import threading
from contextlib import suppress


class Gate:
    """A way to a server that can be shut: what comes is taken, and nothing goes on until it is open again."""

    def __init__(self, target):
        self.target = (target.host, target.port)
        self.passing = threading.Event()
        self.passing.set()
        self.shut, self.open = self.passing.clear, self.passing.set

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        with suppress(OSError):  # closed
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.target)
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self.carry, args=(one, other), daemon=True).start()

    def carry(self, one, other):
        with suppress(OSError), one, other:
            while data := one.recv(1 << 16):
                self.passing.wait()
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
