# The SCIM server with versions: scim2-server, each tenant on first use. Takes a port that is free, says which, and ends with its input.
# Argument: the bearer token.
import os
import sys
import threading

from scim2_server.testserver import cli

make_server = cli.make_server


def end_with_input():
    sys.stdin.read()
    os._exit(0)


def make_server_and_say_where(*args, **kwargs):
    server = make_server(*args, **kwargs)
    print(server.server_port, flush=True)
    sys.stdout = sys.stderr  # nobody reads on
    threading.Thread(target=end_with_input, daemon=True).start()
    return server


cli.make_server = make_server_and_say_where
sys.argv[1:] = ["--port", "0", "--dynamic-tenants", "--bearer-token", sys.argv[1]]
cli.main()
