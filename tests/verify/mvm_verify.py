#!/usr/bin/env python3
"""Verifies plans (rules A-001 to A-017), receipts and audit logs of mvm, and shares no code with it.
Prints the verdict in mvm's words; exits with 0 for `ok` and `intact`, otherwise with 1.

    mvm_verify.py plan ENVELOPE ROOTS NOW | receipt ENVELOPE ROOTS | log LOG ROOTS [CHECKPOINT]
    mvm_verify.py -         the same arguments, a JSON array of texts on each line of standard input"""
import base64, hashlib, json, re, sys
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_der_public_key

class Flaw(Exception): """Carries the verdict."""
def need(holds, verdict=None):
    if not holds:
        raise Flaw(verdict)

def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()

def unbase64(text):
    """The bytes of padded standard base64 in its one spelling, otherwise none."""
    data = base64.b64decode(text) if re.fullmatch("[A-Za-z0-9+/]*={0,2}", text) and len(text) % 4 == 0 else b""
    return data if base64.b64encode(data).decode() == text else b""

def canonical(value):
    """RFC 8785, for documents without fractions: keys in the order of their UTF-16 code units."""
    utf16 = lambda name: name.encode("utf-16-be")
    order = lambda value, depth: need(depth < 17 or not isinstance(value, (list, dict)), "A-013") or (
        [order(item, depth + 1) for item in value] if isinstance(value, list) else value if isinstance(value, (
            str, int, type(None))) else {name: order(value[name], depth + 1) for name in sorted(value, key=utf16)})
    return json.dumps(order(value, 1), ensure_ascii=False, separators=(",", ":")).encode()

def read(data, one_form=True, limit=256 * 1024):
    """The JSON in `data`, read strictly; a flaw is the number of the rule about plans."""
    need(len(data) <= limit, "A-001")
    try:
        value = json.loads(
            data.decode(), parse_float=lambda _: need(False, "A-015"), parse_constant=lambda _: need(False, "A-012"),
            parse_int=lambda text: need(text != "-0" and abs(int(text[:20])) < 2**53, "A-015") or int(text),
            object_pairs_hook=lambda pairs: need(len(dict(pairs)) == len(pairs), "A-014") or dict(pairs))
        need(canonical(value) == data or not one_form, "A-016")
        return value
    except (ValueError, RecursionError):
        raise Flaw("A-012") from None

def verifies(key, signature, message, kind=None):
    """Whether the key signed the message; with a kind, its DSSE v1 pre-authentication encoding."""
    if kind:
        message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(message), message)
    try:
        return not load_der_public_key(base64.b64decode(key["public_key"])).verify(signature, message)
    except InvalidSignature:
        return False

def standing(key, now):
    return ("A-008" if now >= key.get("revoked_at", now + 1) else "A-009" if now < key["not_before"]
            else "A-010" if now >= key.get("not_after", now + 1) else None)

def opened(data, roots, kind, role, now=None):
    """The payload of an envelope and its key, which must be believed at `now` if that is given."""
    try:
        envelope = read(data, one_form=False)
    except Flaw as flaw:
        raise Flaw("A-001" if flaw.args == ("A-001",) else "A-002") from None
    types = lambda value: isinstance(value, dict) and {name: type(value[name]) for name in value}
    need(types(envelope) == {"payload": str, "payloadType": str, "signatures": list}, "A-002")
    need(all(types(entry) == {"keyid": str, "sig": str} for entry in envelope["signatures"]), "A-002")
    need(len(envelope["signatures"]) == 1, "A-003")
    only, payload = envelope["signatures"][0], unbase64(envelope["payload"])
    keyid, signature = only["keyid"], unbase64(only["sig"])
    need((payload or not envelope["payload"]) and len(signature) == 64 and re.fullmatch("[0-9a-f]{64}", keyid), "A-004")
    need(envelope["payloadType"] == kind, "A-005")
    need(keyid in roots, "A-006")
    need(roots[keyid]["role"] in (role, "host"), "A-007")
    need(now is None or not standing(roots[keyid], now), now and standing(roots[keyid], now))
    need(verifies(roots[keyid], signature, payload, kind), "A-011")
    return payload, roots[keyid]

def plan(data, roots, now):
    document = read(opened(data, roots, "application/vnd.mvm.plan.v1+json", "plan", int(now))[0])
    need(isinstance(document, dict) and repr(document.get("version")) == "1", "A-017")

def receipt(data, roots):
    payload, key = opened(data, roots, "application/vnd.in-toto+json", "record")
    try:
        said = read(payload)
        what = said["predicate"]
        subjects = [("plan", what["plan_digest"])] + [(n, o["digest"]) for n, o in sorted(what["outputs"].items())]
        need(said == {
            "_type": "https://in-toto.io/Statement/v1", "predicateType": "urn:mvm:receipt:v1", "predicate": what,
            "subject": [{"name": name, "digest": {"sha256": digest[7:]}} for name, digest in subjects]})
    except (Flaw, KeyError, TypeError):
        raise Flaw("not-a-receipt") from None
    need(not standing(key, what["started_at_ms"] // 1000), "key-not-valid")

def root(leaves):
    """RFC 6962, section 2.1."""
    half = 1 << (len(leaves) - 1).bit_length() - 1 if len(leaves) > 1 else 0
    return sha256(b"\1", root(leaves[:half]), root(leaves[half:])) if half else sha256(*(b"\0" + leaf for leaf in leaves))

def checkpoint(note, keys, last):
    """Size and root in a checkpoint (C2SP tlog-checkpoint) of the log whose last record is in `last`."""
    form = r"((mvm-audit/([0-9a-f]{32}))\n(0|[1-9][0-9]*)\n(\S{44})\n)\n\u2014 \2 (\S+)\n"
    match = re.fullmatch(form, note.decode(errors="replace"))
    need(match and all(record["log"] == match[3] for record in last), "checkpoint-invalid")
    signature, tree = unbase64(match[6]), unbase64(match[5])
    name = lambda key: sha256(match[2].encode(), b"\n\1", base64.b64decode(key["public_key"])[-32:])[:4]
    need(len(tree) == 32 and any(
        key["role"] in ("record", "host") and not any(standing(key, record["time_ms"] // 1000) for record in last)
        and signature[:4] == name(key) and verifies(key, signature[4:], match[1].encode())
        for key in keys), "checkpoint-invalid")
    return int(match[4]), tree

def log(data, roots, note=None, kind="application/vnd.mvm.audit-record.v1+json"):
    *lines, torn = data.split(b"\n")
    records, leaves = [], []
    for line in lines:
        try:
            entry = read(line, limit=16 * 1024)
            record, key, leaf = entry["record"], roots.get(entry["key"]), canonical(entry["record"])
            believed = key and key["role"] in ("record", "host") and not standing(key, record["time_ms"] // 1000)
            good = set(entry) == {"key", "record", "signature"} and repr(record["version"]) == "1" and (
                not believed or verifies(key, unbase64(entry["signature"]), leaf, kind))
        except (Flaw, KeyError, TypeError):
            good = False
        need(good, "edited")
        need(believed, "untrusted")
        records.append(record)
        leaves.append(leaf)
    places = [record["sequence"] for record in records]
    need(len({record["log"] for record in records}) < 2 and len(set(places)) == len(set(leaves)), "forked")
    need(places == sorted(set(places)), "reordered")
    need(places == list(range(len(places))), "removed")
    size, tree = checkpoint(note, roots.values(), records[-1:]) if note is not None else (0, b"")
    need(size <= len(leaves), "truncated")
    chain = all(record["previous"] == "sha256:" + sha256(leaf).hex() for record, leaf in zip(records[1:], leaves))
    need(chain and (not size or tree == root(leaves[:size])), "forked")
    need(not torn, "truncated")
    return "intact" if tree and size == len(leaves) else "unsealed"

def judge(kind, *parts):
    data, roots, *rest = (part if part.isdigit() else open(part, "rb").read() for part in parts)
    roots = {sha256(base64.b64decode(key["public_key"])).hex(): key for key in read(roots, one_form=False)["keys"]}
    try:
        return {"plan": plan, "receipt": receipt, "log": log}[kind](data, roots, *rest) or "ok"
    except Flaw as flaw:
        return flaw.args[0]

words = [judge(*case) for case in (map(json.loads, sys.stdin) if sys.argv[1:] == ["-"] else [sys.argv[1:]])]
print(*words, sep="\n")
sys.exit(not {"ok", "intact"}.issuperset(words))
