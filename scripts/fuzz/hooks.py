"""What schemathesis cannot know of the admin API: where tokens come from, what a policy file looks like, and which
requests would end the game."""

import base64
import itertools
import json
import os

import requests
import schemathesis
from hypothesis import strategies as st

with open(os.environ["FUZZ_CLIENTS_FILE"]) as file:
    ADMIN = json.load(file)["admin"]
TOKEN_URL = os.environ["FUZZ_TOKEN_URL"]

# The credentials that the tokens below were obtained with.
own_credentials = set()


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
        token = answer.json()["access_token"]
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        own_credentials.add(claims["jti"].split(".")[0])
        return token

    def set(self, case, token, context):
        case.headers["Authorization"] = f"Bearer {token}"


counter = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    # Without its own credential the fuzzer gets no more tokens.
    if case.method != "GET" and case.path_parameters.get("credential_id") in own_credentials:
        case.path_parameters["credential_id"] = "A" * 22
    # Who prunes takes away what another step has just made, and will look for.
    if case.path == "/policy/apply" and str(case.query.get("prune")).lower() == "true":
        case.query["prune"] = "false"
    # An old key gets the old answer again, which tells of things that may be deleted since.
    key = case.headers.get("Idempotency-Key")
    if isinstance(key, str) and 0 < len(key) <= 240 and all("!" <= character <= "~" for character in key):
        case.headers["Idempotency-Key"] = f"{key}-{next(counter)}"


names = st.from_regex(r"[a-z][a-z0-9.-]{0,7}", fullmatch=True)
lines = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40)


def toml(value):
    return json.dumps(value, ensure_ascii=False)


@st.composite
def policies(draw):
    """Policy files that fit, each whole in itself."""
    clients = draw(st.lists(names.map("fuzz-{}".format), unique=True, max_size=3))
    resources = draw(st.dictionaries(names.map("urn:fuzz:{}".format), st.dictionaries(names, lines, max_size=3), max_size=3))
    parts = []
    for client in clients:
        parts.append(f"[clients.{toml(client)}]\nname = {toml(draw(lines))}\n")
    for resource, scopes in resources.items():
        parts.append(f"[resources.{toml(resource)}]\nname = {toml(draw(lines))}\n[resources.{toml(resource)}.scopes]\n")
        parts.extend(f"{toml(scope)} = {toml(words)}\n" for scope, words in scopes.items())
    for client in clients:
        for resource, scopes in resources.items():
            if draw(st.booleans()):
                granted = draw(st.lists(st.sampled_from(sorted(scopes)), unique=True)) if scopes else []
                parts.append(f"[[grants]]\nclient = {toml(client)}\nresource = {toml(resource)}\nscopes = {toml(granted)}\n")
    return "".join(parts).encode()


schemathesis.openapi.media_type("application/toml", policies())


@schemathesis.hook
def before_load_schema(context, raw_schema):
    # An example is text, and of a media type of ours schemathesis takes bytes only.
    raw_schema["components"]["schemas"]["PolicyFile"].pop("examples", None)


@schemathesis.deserializer("application/toml")
def as_text(context, response):
    return response.content.decode()
