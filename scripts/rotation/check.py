"""Rotates the secret of a fleet while it works, and removes each old one as soon as the server calls that safe.

check.py PROGRAM LOG
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import requests

MACHINES = 5
ROTATIONS = 10

# In seconds. The next rotation begins before the old secret of the one before is gone.
ROUND = 5.5
SPREAD = 4.0
TOKEN_LIFETIME = 3
LONGEST = 100

# In this rotation one client stays behind for so long, and asks for a token only some time after its last one has ended.
STRAGGLER = "requests-oauthlib 0"
STRAGGLING_ROTATION = 4
STRAGGLING_FOR = 24
STRAGGLING_PACE = 2 * TOKEN_LIFETIME + 1

POLICY = f"""
[resources.ledger]
token_lifetime = "{TOKEN_LIFETIME}s"
[clients.fleet]
[[grants]]
client = "fleet"
resource = "ledger"
"""


class Server:
    """A server of its own, on a port that is free."""

    def __init__(self, program, folder):
        (folder / "policy.toml").write_text(POLICY)
        self.log = folder / "log"
        names = ["data", "clients.json", "policy.toml"]
        flags = ["--data-dir", "--clients-file", "--policy"]
        paths = [argument for pair in zip(flags, names) for argument in pair]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("AUTH_PROVIDER_")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", program, "--listen", "localhost:0", *paths],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
            )
        self.url = self.wait_for_url()
        self.secrets = json.loads((folder / "clients.json").read_text())
        answer = requests.post(
            f"{self.url}/oauth/token",
            auth=("admin", self.secrets["admin"]["clientSecret"]),
            data={"grant_type": "client_credentials"},
            timeout=10,
        )
        answer.raise_for_status()
        self.http = requests.Session()
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def wait_for_url(self):
        until = time.monotonic() + 30
        while time.monotonic() < until and self.process.poll() is None:
            found = re.search(r"issuer (http\S*)/auth", self.log.read_text())
            if found:
                return found[1]
            time.sleep(0.1)
        sys.exit(f"the server did not start:\n{self.log.read_text()}")

    def api(self, method, path, **body):
        """Asks the admin API for something about the fleet."""
        answer = self.http.request(method, f"{self.url}/admin/v1/{path}", json=body or None, timeout=10)
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def refusals(self):
        """What the audit log holds against the fleet."""
        return self.api("GET", "audit?client_id=fleet&outcome=refused&limit=1000")["events"]


class Fleet:
    """The machines. What they say is kept."""

    def __init__(self, folder):
        self.orders = folder / "orders.json"
        self.order = {"version": 0, "client_id": "fleet", "spread": 0, "stragglers": {}, "over": False}
        self.at, self.moves, self.failures = {}, 0, []
        self.processes, self.readers = [], []

    def tell(self, **changes):
        """Writes new orders, all of them at once."""
        self.order |= changes
        draft = self.orders.with_suffix(".next")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(self.order))
        draft.replace(self.orders)

    def start(self):
        machine = Path(__file__).with_name("machine.py")
        for number in range(MACHINES):
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", sys.executable, machine, str(number), self.orders],
                stdout=subprocess.PIPE,
                text=True,
            )
            reader = threading.Thread(target=self.listen, args=(process,))
            reader.start()
            self.processes.append(process)
            self.readers.append(reader)

    def listen(self, process):
        for line in process.stdout:
            event = json.loads(line)
            if "failed" in event:
                self.failures.append(event)
                print(f"FAILED: {event}", flush=True)
            else:
                self.at[event["client"]] = event["version"]
                self.moves += 1

    def stop(self):
        self.tell(over=True)
        for process in self.processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.failures.append({"client": f"machine {process.args[-2]}", "failed": "it hangs"})
                process.kill()
        for reader in self.readers:
            reader.join()

    def who_has(self, version):
        return sorted(name for name, at in dict(self.at).items() if at == version)


class Rotations:
    """The administrator: begins rotations, and ends each when that is safe."""

    def __init__(self, server, fleet):
        self.server, self.fleet = server, fleet
        self.wrong, self.uses = [], 0
        first = self.credentials()[0]
        self.versions = [first["credential_id"]]  # of which the last is the newest
        self.open = {}  # by version: the way in which it is replaced, and when that began
        self.told = Counter()  # what was said of the straggler's secret, with its numbers left out
        fleet.tell(version=1, secret=server.secrets["fleet"]["clientSecret"], url=server.url)

    def credentials(self):
        return self.server.api("GET", "clients/fleet/credentials")["credentials"]

    def path(self, version):
        return f"clients/fleet/credentials/{self.versions[version - 1]}"

    def begin(self):
        old = len(self.versions)
        if old % 2 == 0:
            way, new = "rotate", self.server.api("POST", f"{self.path(old)}/rotate", grace=3600)
        else:
            way, new = "start", self.server.api("POST", f"{self.path(old)}/rotation")
        self.versions.append(new["credential_id"])
        self.open[old] = way, time.monotonic()
        stragglers = {STRAGGLER: STRAGGLING_PACE} if old == STRAGGLING_ROTATION else self.fleet.order["stragglers"]
        self.fleet.tell(version=old + 1, secret=new["client_secret"], spread=SPREAD, stragglers=stragglers)

    def look(self):
        """Removes what is safe to remove, and looks whether it is."""
        newest = self.versions[-1]
        for credential in self.credentials():
            version = self.versions.index(credential["credential_id"]) + 1
            holders, reason = self.fleet.who_has(version), credential["safe_to_remove_reason"]
            if not credential["safe_to_remove"]:
                if holders == [STRAGGLER]:
                    self.told[re.sub(r"\d+", "…", reason)] += 1
                continue
            if credential["credential_id"] == newest:
                self.wrong.append(f"the newest secret was called safe to remove: {reason}")
                continue
            if holders:
                self.wrong.append(f"secret {version} was called safe to remove while {holders} had it: {reason}")
            self.remove(version, credential)

    def remove(self, version, credential):
        way, since = self.open.pop(version)
        if way == "start":
            self.server.api("POST", f"{self.path(version)}/rotation/finish")
        else:
            self.server.api("DELETE", self.path(version))
        self.uses += credential["use_count"]
        took = time.monotonic() - since
        print(f"rotation {version:2} ({way}): safe after {took:2.0f} s. {credential['safe_to_remove_reason']}", flush=True)


def rotate(server, fleet):
    rotations = Rotations(server, fleet)
    fleet.start()
    begun = time.monotonic()
    while len(fleet.who_has(1)) < 4 * MACHINES and time.monotonic() < begun + 30:
        time.sleep(0.1)  # python takes a while to start
    start = time.monotonic()
    released = None
    while True:
        now = time.monotonic()
        if len(rotations.versions) <= ROTATIONS and now >= start + ROUND * (len(rotations.versions) - 1):
            rotations.begin()
            if len(rotations.versions) == STRAGGLING_ROTATION + 1:
                released = now + STRAGGLING_FOR
        if released is not None and now >= released:
            fleet.tell(stragglers={})
            released = None
        rotations.look()
        if len(rotations.versions) > ROTATIONS and not rotations.open:
            return rotations
        if now > begun + LONGEST - 10:
            rotations.wrong.append(f"after {now - begun:.0f} s these are not safe to remove: {sorted(rotations.open)}")
            return rotations
        time.sleep(0.25)


def main():
    program, log = sys.argv[1:]
    folder = Path(tempfile.mkdtemp(prefix="rotation."))
    server, fleet = None, Fleet(folder)
    try:
        server = Server(program, folder)
        try:
            rotations = rotate(server, fleet)
        finally:
            fleet.stop()
        wrong = rotations.wrong + fleet.failures + server.refusals()
        tokens = rotations.uses + sum(each["use_count"] for each in rotations.credentials())
    finally:
        if server:
            server.process.terminate()
            server.process.wait()
            shutil.copy(server.log, log)
        shutil.rmtree(folder)

    print(f"While only {STRAGGLER} had the old secret of rotation {STRAGGLING_ROTATION}, looking at it said:")
    for reason, times in rotations.told.most_common():
        print(f"  {times:3} times: {reason}")
    if not rotations.told:
        wrong.append("the straggler was never alone: its rotation says nothing")
    moves = 4 * MACHINES * (ROTATIONS + 1)
    if fleet.moves < moves - ROTATIONS:
        wrong.append(f"the clients took up only {fleet.moves} secrets, and not about {moves}")
    if wrong:
        for what in wrong:
            print(f"wrong: {what}", file=sys.stderr)
        sys.exit(f"A rotation was noticed: see above; the server's log is {log}.")
    clients = f"{4 * MACHINES} clients of four libraries fetched {tokens} tokens"
    print(f"Nobody noticed a rotation: {clients} through {ROTATIONS} rotations, and none was refused.")


if __name__ == "__main__":
    main()
