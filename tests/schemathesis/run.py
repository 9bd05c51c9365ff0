"""Runs schemathesis against the server at CHANCERY_URL, with all its checks, from the server's own document."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

HERE = Path(__file__).parent
URL = os.environ["CHANCERY_URL"]
KEY = os.environ["CHANCERY_ADMIN_KEY"]
# Where schemathesis works, and where the agent and the client are for which it speaks: no request ends these.
DEMO, TESTER = "demo", "tester"


def post(project, path, body):
    """What the server answers to an administrator."""
    tenant = {"X-Account-ID": "acme", "X-Project-ID": project, "Authorization": f"Bearer {KEY}"}
    request = Request(URL + path, json.dumps(body).encode(), {**tenant, "Content-Type": "application/json"})
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


def token(api_key):
    """A token for an agent's API key."""
    form = urlencode({"grant_type": "api_key", "api_key": api_key}).encode()
    with urlopen(Request(URL + "/oauth2/token", form), timeout=30) as answer:
        return json.load(answer)["access_token"]


def main():
    """Makes what the operations ask for, and gives it to schemathesis in its environment."""
    new = {"name": "Tester", "external_id": "tester", "created_by": "tests"}
    agent = post(TESTER, "/agents/register", new)
    client = post(TESTER, "/oauth/clients", {"client_id": "tester", "name": "Tester", "confidential": True})
    post(DEMO, "/agents/register", new)
    issuer = {"issuer": "https://cluster.example.com", "jwks_uri": "https://cluster.example.com/jwks.json"}
    post(DEMO, "/trusted-issuers", issuer)
    environment = {
        **os.environ,
        "AGENT_TOKEN": token(agent["api_key"]),
        "CLIENT_SECRET": client["client_secret"],
        "SCHEMATHESIS_HOOKS": "hooks",
        "PYTHONPATH": str(HERE),
    }
    # Not by its script, which names the folder where the environment was made.
    program = [sys.executable, "-m", "schemathesis.cli", f"--config-file={HERE / 'schemathesis.toml'}"]
    command = [*program, "run", "--checks=all", f"{URL}/openapi.json"]
    sys.exit(subprocess.run([*command, *sys.argv[1:]], env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
