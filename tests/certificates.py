"""Certificates of our own."""

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)


def make_key() -> Any:
    """A private key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: Any, password: bytes | None = None) -> bytes:
    """A private key as it stands in a file."""
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    assert isinstance(pem, bytes)
    return pem


def certificate_pem(
    key: Any,
    *names: str,
    subject: str = "",
    issuer: str = "",
    issuer_key: Any = None,
    days: Sequence[int] = (-1, 30),
) -> bytes:
    """A certificate as it stands in a file.

    @param names: host names and addresses.
    @param subject: whose it is; the first of the names if there is nothing here.
    @param issuer: who signed it; the subject if there is nothing here.
    @param days: from when on and until when it is valid, from today.
    """
    subject = subject or names[0]
    since, until = (datetime.now(timezone.utc) + timedelta(days=each) for each in days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer or subject))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
    )
    if names:
        alternatives = x509.SubjectAlternativeName([_general(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    signed = builder.sign(issuer_key or key, hashes.SHA256())
    return signed.public_bytes(Encoding.PEM)


def pem(*names: str, days: Sequence[int] = (-1, 30)) -> bytes:
    """A new key and its certificate."""
    key = make_key()
    return key_pem(key) + certificate_pem(key, *names, days=days)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
