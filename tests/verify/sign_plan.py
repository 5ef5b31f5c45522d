#!/usr/bin/env python3
"""Signs a plan with standard tools: `sign_plan.py cryptography|securesystemslib SEED < PLAN > ENVELOPE`.

SEED is the Ed25519 private key's 32 bytes in hexadecimal. The plan on standard input may be any JSON;
what is signed are its canonical bytes. It holds only ASCII keys, so `sort_keys` orders them as RFC 8785 does."""
import base64, hashlib, json, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

TYPE = "application/vnd.mvm.plan.v1+json"
key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(sys.argv[2]))
der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
keyid = hashlib.sha256(der).hexdigest()
plan = json.dumps(json.load(sys.stdin), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

if sys.argv[1] == "securesystemslib":
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner, SSlibKey
    public = SSlibKey.from_crypto(key.public_key(), keyid=keyid)
    envelope = Envelope(plan, TYPE, {})
    envelope.sign(CryptoSigner(key, public))
    envelope.verify([public], 1)
    document = envelope.to_dict()
else:
    pae = b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE.encode(), len(plan), plan)
    signature = base64.b64encode(key.sign(pae)).decode()
    document = {"payload": base64.b64encode(plan).decode(), "payloadType": TYPE,
                "signatures": [{"keyid": keyid, "sig": signature}]}
print(json.dumps(document, indent=2))
