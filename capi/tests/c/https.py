"""Runs an example that serves https and asks it, by another TLS: https.py CERTIFICATE COMMAND..."""

import http.client
import ssl
import subprocess
import sys

TIME = 60  # seconds, until a hang is a failure
certificate, *command = sys.argv[1:]
trust = ssl.create_default_context(cafile=certificate)


class Connection(http.client.HTTPSConnection):
    """To 127.0.0.1, with the name that the certificate is for."""

    def connect(self):
        http.client.HTTPConnection.connect(self)
        self.sock = trust.wrap_socket(self.sock, server_hostname="localhost")


def ask(connection, path):
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read().decode()


with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as example:
    try:
        scheme, address = example.stdout.readline().split()[-1].split("://")
        assert scheme == "https", scheme
        host, port = address.split(":")
        connection = Connection(host, int(port), timeout=TIME)
        status, ticks = ask(connection, "/ticks")
        assert status == 200 and ticks.isdigit(), (status, ticks)
        version = connection.sock.version()
        plain = http.client.HTTPConnection(host, int(port), timeout=TIME)
        status, why = ask(plain, "/ticks")
        assert status == 400 and "https" in why, (status, why)
        assert ask(connection, "/detach") == (200, "bye")
        connection.close()
        plain.close()
        assert example.wait(TIME) == 0, example.returncode
    finally:
        if example.poll() is None:
            example.kill()
print(version)
