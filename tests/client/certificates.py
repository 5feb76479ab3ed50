"""Certificates for the length of a test."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


class Certificates:
    """A server's certificate for C{localhost}, who signed it, and somebody who did not.

    @ivar ca: the certificate of who signed it.
    @ivar other_ca: one of somebody else.
    @ivar fingerprint: of the server's certificate.
    @ivar server_options: what Twisted's C{ssl:} endpoint needs.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        directory = directory.absolute()
        authority, other = _made("authority", None), _made("other", None)
        server = _made("localhost", authority)
        self.ca, self.other_ca = directory / "ca.pem", directory / "other.pem"
        certificate, key = directory / "server.pem", directory / "server.key"
        for path, (made, _) in (
            (self.ca, authority),
            (self.other_ca, other),
            (certificate, server),
        ):
            path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        key.write_bytes(
            server[1].private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self.fingerprint = server[0].fingerprint(hashes.SHA256()).hex(":").upper()
        self.server_options = f"privateKey={key}:certKey={certificate}"


def _made(name: str, issuer: Pair | None) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key
