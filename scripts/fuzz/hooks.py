"""What schemathesis cannot know of the admin API: where tokens come from, and what a policy file looks like."""

import json
import os

import requests
import schemathesis
from hypothesis import strategies as st

ADMIN = json.load(open(os.environ["FUZZ_CLIENTS_FILE"]))["admin"]
TOKEN_URL = os.environ["FUZZ_TOKEN_URL"]


# A token lives for five minutes, and dies sooner when the fuzzer takes it back: then it is asked for again.
@schemathesis.auth(refresh_interval=120)
class AdminToken:
    def get(self, case, context):
        answer = requests.post(
            TOKEN_URL,
            auth=(ADMIN["clientId"], ADMIN["clientSecret"]),
            data={"grant_type": "client_credentials", "resource": "auth-provider"},
            timeout=10,
        )
        answer.raise_for_status()
        return answer.json()["access_token"]

    def set(self, case, token, context):
        case.headers["Authorization"] = f"Bearer {token}"
