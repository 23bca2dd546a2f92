"""The vocabulary of the whole product: requests, responses, stored entries, failures.

Values only. Nothing here does I/O, reads a clock or rolls dice; every instant ends in
`_at` (epoch seconds unless it says otherwise) and every quantity names its unit.
"""

from proxy.model.failures import FailureKind, OriginFailure
from proxy.model.field_names import Cut, FieldNames, Placed, Values, cut_of, names_of
from proxy.model.fields import NO_FIELDS, FieldLine, Fields
from proxy.model.messages import (
    Answer,
    Body,
    BodyBroken,
    Framing,
    Hit,
    InboundBody,
    OriginResponse,
    RelayTerms,
    Request,
    ResponseHead,
    Tunnel,
)
from proxy.model.stored import (
    NOT_ASKED,
    VALUES,
    Capture,
    Entry,
    Found,
    Held,
    LifetimeSource,
    NotAsked,
    Part,
    Position,
    Rule,
    StoredResponse,
    Succession,
    Validity,
    VaryRecord,
    shared_reason,
)
from proxy.model.words import LETTER, CacheStatus, Claim, Forward, Outcome, Reason

__all__ = [
    "LETTER",
    "NOT_ASKED",
    "NO_FIELDS",
    "VALUES",
    "Answer",
    "Body",
    "BodyBroken",
    "CacheStatus",
    "Capture",
    "Claim",
    "Cut",
    "Entry",
    "FailureKind",
    "FieldLine",
    "FieldNames",
    "Fields",
    "Forward",
    "Found",
    "Framing",
    "Held",
    "Hit",
    "InboundBody",
    "LifetimeSource",
    "NotAsked",
    "OriginFailure",
    "OriginResponse",
    "Outcome",
    "Part",
    "Placed",
    "Position",
    "Reason",
    "RelayTerms",
    "Request",
    "ResponseHead",
    "Rule",
    "StoredResponse",
    "Succession",
    "Tunnel",
    "Validity",
    "Values",
    "VaryRecord",
    "cut_of",
    "names_of",
    "shared_reason",
]
