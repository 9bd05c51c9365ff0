"""What schemathesis cannot know: which refusals of valid data are rules that no schema says, and what a key is for."""

import itertools
import re

import schemathesis
from schemathesis.generation import GenerationMode

# RFC 6749 answers 400 to a grant, client or page that does not hold, which no schema tells.
OAUTH = "/oauth2/"
# The details of the refusals that depend on what the database holds, on the clock, on the configuration, or on how two
# values fit each other. Every other refusal of valid data is a schema that is looser than the server.
RULES = [
    # What is in the database.
    r"^an (agent|identity) that is \w+ can't (become|be) \w+$",
    r"^the key of an agent that is \w+ can't be rotated$",
    r"^an identity that is \w+ gets no API key$",
    r"^the identity is not active: it is \w+$",
    r"^an agent without an owner can't become active$",
    r"^a client whose token_endpoint_auth_method is \w+ has no secret to rotate$",
    r"^there is no (client with this client_id|credential policy with this id|identity with this id|user with this id)$",
    r"^identity_type is a part of the URI and does not change$",
    r"^the cursor is not one of this list with this filter, or it is too old",
    r"^the subject does not match the issuer's subject_pattern$",
    r"^the credential belongs to no identity$",
    # Who asks: an operator names no person.
    r"^created_by is missing: name the person who answers for the agent$",
    # The time, and the server's configuration.
    r"^expires_at lies in the past$",
    r"^not_seen_since is a time that lies in the past",
    r"^overlap_seconds is at most \d+, the server's clients\.secret_overlap_seconds$",
    r"^issuer is this server, whose tokens are accepted without that$",
    r"^audience is another tenant's own$",
    r"^a list or object has more than \d+ items$",
    r"^a string is longer than \d+ bytes$",
    r"^more than \d+ scopes$",
    r"^\w+ (is longer than|has more than|has at most) \d+ (characters|bytes)",
    # Two members, each of which is sound.
    r"^sub_type of an identity of type \w+ is one of: ",
    r"^an identity of type \w+ has no sub_type$",
    r"^send either jwks(_uri)? or jwks(_uri)?( with at least one key)?$",
    r"^jwks and jwks_uri go with token_endpoint_auth_method private_key_jwt$",
    r"^token_endpoint_auth_method and confidential contradict each other",
    r"^a public client may not hold client_credentials: it cannot prove who it is$",
    r"^name either identity_id or (mission_id|user_id), and not both$",
    r"^send either identity_id, for a workload, or user_id, for a person$",
    r"^product is a label of the identity: leave it out where identity_id names one$",
    r"^name the time to export: since and until$",
    r"^status can be set to active, suspended or deactivated$",
    r"^a client has at least one grant type; to stop it, set is_active to false$",
    r"^max_ttl_seconds is a whole number from 1 to \d+$",
    r"^a source may say unverified or verified_third_party; only an administrator says first_party$",
    r'^origin holds 1 to 64 of the characters a-z 0-9 _ - and is not "native"$',
    r"^within is a time such as 7d, 2w or 36h30m, at most 365d$",
    r"^required_claims has at most 32 members, and each is a text$",
    # Languages of their own within a text: keys, addresses, URIs, patterns, and real dates.
    r"^(new_)?public_key_pem is not a P-256 key in SPKI PEM",
    r"^new_public_jwk is not accepted: ",
    r"^a key of jwks is not accepted: |^jwks has |^two keys of jwks ",
    r"^invalid_wimse_uri$",
    r"^issuer is not fit: |^issuer has no query$",
    r"^jwks_uri is not fit: ",
    r"^a redirect URI ",
    r"^ip_allowlist: ",
    r"^ip is an address of IPv4 or IPv6$",
    r"^user_id holds 1 to 255 printable ASCII characters without space, and begins neither with ",
    r"^email is an address with an @, of at most 254 bytes, without spaces$",
    r"^to is a path of this server, as /oauth2/authorize",
    r"^a time is of the form 2030-01-31T00:00:00Z$",
    r"^expires_at is a time of RFC 3339",
    r"^may_act ",
    # schemathesis takes the empty text for a UUID.
    r": UUID parsing failed: invalid length: found 0$",
    # Any member of any name, also one that is ignored, is read within the limits of JSON.
    r"^a number has a magnitude of 1e308 or more$",
]
NUMBERS = itertools.count(1)


def is_valid(case):
    """Whether the request keeps to its schema."""
    return case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE


@schemathesis.check
def valid_data_is_refused_by_rules_only(_ctx, response, case):
    """Stands beside schemathesis's own check, which lets 400 pass for valid data."""
    if response.status_code not in (400, 422) or not is_valid(case) or case.operation.path.startswith(OAUTH):
        return
    detail = response.json()["detail"]
    assert any(re.search(rule, detail) for rule in RULES), f"the schema allows what is refused: {detail}"


@schemathesis.hook
def before_call(_ctx, case, _kwargs):
    """An Idempotency-Key goes with one body; and 1.0, an integer to JSON Schema, is none to the server."""
    if not is_valid(case):
        return
    for name in case.headers or {}:
        if name.lower() == "idempotency-key":
            case.headers[name] = f"key-{next(NUMBERS)}"
    if isinstance(case.body, dict):
        for name, value in case.body.items():
            if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
                case.body[name] = int(value)
