"""One machine of a fleet: a client of each library, which all have the same client id, and the secret of a file.

When the file gets a new secret, each client goes on with its old one until its own moment comes, as when a fleet is
deployed machine by machine. What happens is said on stdout, one JSON object a line.
"""

import json
import os
import random
import sys
import threading
import time

import httpx
import requests
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from httpx_auth import OAuth2ClientCredentials
from oauthlib.oauth2 import BackendApplicationClient, TokenExpiredError
from requests_oauth2client import OAuth2Client, OAuth2ClientCredentialsAuth
from requests_oauthlib import OAuth2Session as OauthlibSession

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # the server is on this machine

# Tokens live for seconds here: with the libraries' own 20 to 60 s they would never be used twice.
LEEWAY = 1

# A connection that is kept open can end at the very moment at which it is used again: that is nobody's secret's fault.
HEADERS = {"Connection": "close"}

# How often a client needs its token, in seconds.
PACE = 0.4


class Authlib:
    """Renews a token by itself, a moment before its end."""

    def __init__(self, url, client_id, secret):
        self.url = url
        self.session = AuthlibSession(
            client_id,
            secret,
            token_endpoint=f"{url}/oauth/token",
            grant_type="client_credentials",
            leeway=LEEWAY,
        )
        self.session.headers.update(HEADERS)
        self.session.fetch_token()

    def call(self):
        return self.session.get(f"{self.url}/health")


class Oauthlib:
    """Says that a token has ended, and leaves the rest to its user."""

    def __init__(self, url, client_id, secret):
        self.url, self.secret = url, secret
        self.session = OauthlibSession(client=BackendApplicationClient(client_id))
        self.session.headers.update(HEADERS)
        self.fetch()

    def fetch(self):
        self.session.fetch_token(f"{self.url}/oauth/token", client_secret=self.secret)

    def call(self):
        try:
            return self.session.get(f"{self.url}/health")
        except TokenExpiredError:
            self.fetch()
            return self.session.get(f"{self.url}/health")


class HttpxAuth:
    """Keeps the tokens of a process in one place."""

    def __init__(self, url, client_id, secret):
        auth = OAuth2ClientCredentials(
            f"{url}/oauth/token", client_id=client_id, client_secret=secret, early_expiry=LEEWAY
        )
        self.url = url
        self.http = httpx.Client(auth=auth, headers=HEADERS)

    def call(self):
        return self.http.get(f"{self.url}/health")


class RequestsOauth2client:
    def __init__(self, url, client_id, secret):
        self.url = url
        self.http, session = requests.Session(), requests.Session()
        for each in (self.http, session):
            each.headers.update(HEADERS)
        client = OAuth2Client(f"{url}/oauth/token", auth=(client_id, secret), session=session, testing=True)
        self.http.auth = OAuth2ClientCredentialsAuth(client, leeway=LEEWAY)

    def call(self):
        return self.http.get(f"{self.url}/health")


LIBRARIES = {
    "authlib": Authlib,
    "requests-oauthlib": Oauthlib,
    "httpx-auth": HttpxAuth,
    "requests-oauth2client": RequestsOauth2client,
}


def say(**event):
    # In one piece: other threads say something, too.
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def live(name, library, orders):
    """Does a client's work until the orders say that it is over."""
    client, version, move_at = None, 0, None
    while True:
        with open(orders, encoding="utf-8") as file:
            order = json.load(file)
        if order["over"]:
            return
        slow = order["stragglers"].get(name)
        now = time.monotonic()
        if move_at is None and order["version"] != version and slow is None:
            move_at = now + random.uniform(0, order["spread"])
        try:
            if move_at is not None and now >= move_at:
                # The old one is not used from here on.
                version, move_at = order["version"], None
                say(client=name, version=version)
                client = library(order["url"], order["client_id"], order["secret"])
            if client is not None:
                client.call().raise_for_status()
        except Exception as error:  # whatever it is, a user would see it
            say(client=name, failed=f"{type(error).__name__}: {error}", version=version)
        time.sleep(PACE if slow is None else slow)


def main():
    number, orders = sys.argv[1:]
    threads = [
        threading.Thread(target=live, args=(f"{name} {number}", library, orders))
        for name, library in LIBRARIES.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
