"""A certificate that the server signs itself, for a device on the same network."""

import datetime
import hashlib
import ipaddress
import os
import ssl
from pathlib import Path

from segjax.errors import SegjaxError
from segjax.web.security import Address

DAYS = 397
"""Browsers take no certificate that lasts longer."""


def own_pair(folder: Path, address: Address) -> tuple[Path, Path]:
    """The certificate and the private key for a host, in `folder`: made on first use, and again
    when the certificate is over or names another host.

    Raises:
      SegjaxError: the package that makes them is not installed.
    """
    host = address.host
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        raise SegjaxError(
            f"got --host {host} and no certificate; beyond this machine pictures go by TLS only, "
            "since others could read them on their way, and browsers give plain pages no camera; "
            "give --cert and --key, `pip install 'segjax[tls]'` to have a pair made, or leave out "
            f"--host and run `{address.tunnel}` on the other device"
        ) from None
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    try:
        name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        name = x509.DNSName(host)
    now = datetime.datetime.now(datetime.UTC)
    if certificate.exists() and key.exists():
        known = x509.load_pem_x509_certificate(certificate.read_bytes())
        names = known.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if name in names and now + datetime.timedelta(days=1) < known.not_valid_after_utc:
            return certificate, key
    private = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "segjax")])
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS - 1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .sign(private, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    key.unlink(missing_ok=True)
    with open(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
        file.write(
            private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return certificate, key


def context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer with this pair.

    Raises:
      SegjaxError: a file cannot be read, or the two do not belong together.
    """
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        tls.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise SegjaxError(
            f"cannot use --cert {certificate} with --key {key} "
            f"({getattr(error, 'reason', None) or error.strerror}); "
            "they are a PEM certificate and its own private key; give a pair"
        ) from error
    return tls


def fingerprint(certificate: Path) -> str:
    """SHA-256 of the certificate, as browsers show it: 32 pairs of hexadecimal digits."""
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    return hashlib.sha256(der).digest().hex(":").upper()
