"""A token server as Docker's registry trusts it: RS256 tokens with their certificate inside.

Source: distribution, docs/spec/auth/jwt.md.
"""

from __future__ import annotations

import base64
import datetime
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.support.http_server import Reply

if TYPE_CHECKING:
    from tests.support.http_server import Request

ISSUER = "test-issuer"
SERVICE = "test-registry"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, ISSUER)])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .sign(key, hashes.SHA256())
    )


@dataclass
class TokenServer:
    """Everyone may pull `public/...`; a user of `users` may pull and push all."""

    users: dict[str, str]
    life_s: int = 300
    key: rsa.RSAPrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )

    def __post_init__(self) -> None:
        self.certificate = _certificate(self.key)

    @property
    def bundle(self) -> bytes:
        """The certificate as the registry wants it, PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def handle(self, request: Request) -> Reply:
        query = parse_qs(urlsplit(request.path).query)
        user = ""
        if "authorization" in request.headers:
            pair = base64.b64decode(request.headers["authorization"].removeprefix("Basic "))
            user, _, password = pair.decode().partition(":")
            if self.users.get(user) != password:
                return Reply(401, body=b'{"details":"incorrect username or password"}')
        access = [
            {"type": kind, "name": name, "actions": self._granted(user, name, actions.split(","))}
            for kind, name, actions in (scope.rsplit(":", 2) for scope in query.get("scope", []))
        ]
        token = self.token(user, access, query["service"][0])
        return Reply(body=json.dumps({"token": token, "expires_in": self.life_s}).encode())

    def _granted(self, user: str, name: str, actions: list[str]) -> list[str]:
        if user:
            return actions
        return [action for action in actions if action == "pull" and name.startswith("public/")]

    def token(self, user: str, access: list[dict[str, object]], audience: str) -> str:
        now = int(time.time())
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        head = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        claims = {
            "iss": ISSUER,
            "sub": user,
            "aud": audience,
            "exp": now + self.life_s,
            "nbf": now - 10,
            "iat": now,
            "jti": str(time.monotonic_ns()),
            "access": access,
        }
        signed = ".".join(_base64(json.dumps(part).encode()) for part in (head, claims))
        signature = self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64(signature)}"
