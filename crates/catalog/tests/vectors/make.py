"""Makes the vectors of sealed values, independently of the Rust code: RSA by `pow`, the two paddings by hand from RFC 8017, and AES-GCM of
another library. Needs `pip install cryptography`. Randomness is a counter, so that both sides can write the same bytes.

    python3 make.py

writes `test-key.pem` (a key pair for tests; it protects nothing) when it is missing, and `sealed.json`.
"""

import base64
import hashlib
import json
import pathlib

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = pathlib.Path(__file__).parent
VALUES = ["", "s3cr3t", "Schlüssel – ключ – 鍵", "x" * 5000, "two\nlines\tand \"quotes\""]


def counter(start):
    """Bytes 1, 2, …, 255, 1, …: never zero, as PKCS#1 v1.5 padding wants them."""
    while True:
        yield start
        start = start % 255 + 1


def take(source, count):
    return bytes(next(source) for _ in range(count))


def mask(seed, length):
    """MGF1 with SHA-256 (RFC 8017 B.2.1)."""
    blocks = (length + 31) // 32
    return b"".join(hashlib.sha256(seed + n.to_bytes(4, "big")).digest() for n in range(blocks))[:length]


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def oaep(message, size, random):
    """RFC 8017 7.1.1 with an empty label."""
    block = hashlib.sha256(b"").digest() + bytes(size - len(message) - 66) + b"\x01" + message
    seed = take(random, 32)
    masked = xor(block, mask(seed, len(block)))
    return b"\x00" + xor(seed, mask(masked, 32)) + masked


def pkcs1(message, size, random):
    """RFC 8017 7.2.1."""
    return b"\x00\x02" + take(random, size - len(message) - 3) + b"\x00" + message


def seal(public, value, version, start):
    random = counter(start)
    key = take(random, 44)
    padded = (pkcs1 if version == 1 else oaep)(key, 512, random)
    wrapped = pow(int.from_bytes(padded, "big"), public.e, public.n).to_bytes(512, "big")
    sealed = AESGCM(key[:32]).encrypt(key[32:], value.encode(), None)
    return base64.b64encode(bytes([version]) + wrapped + sealed).decode()


def main():
    file = HERE / "test-key.pem"
    if not file.exists():
        key = rsa.generate_private_key(65537, 4096)
        file.write_bytes(
            b"Key pair for tests only: it is public and protects nothing.\n"
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        (HERE / "test-key-pkcs1.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
            )
        )
        for name, form in (("spki", "SubjectPublicKeyInfo"), ("pkcs1", "PKCS1")):
            (HERE / f"test-public-{name}.pem").write_bytes(
                key.public_key().public_bytes(
                    serialization.Encoding.PEM, getattr(serialization.PublicFormat, form)
                )
            )
        small = rsa.generate_private_key(65537, 2048).public_key()
        (HERE / "test-public-2048.pem").write_bytes(
            small.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
    text = file.read_text()
    key = serialization.load_pem_private_key(text[text.index("-----BEGIN") :].encode(), None)
    public = key.public_key().public_numbers()
    vectors = [
        {"version": version, "start": start, "value": value, "sealed": seal(public, value, version, start)}
        for version in (1, 2)
        for start, value in enumerate(VALUES, 7)
    ]
    (HERE / "sealed.json").write_text(json.dumps(vectors, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


main()
