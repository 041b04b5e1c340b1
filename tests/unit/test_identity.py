"""Keys: files that others cannot read, passphrases, and openssl's keys."""

import contextlib
import copy
import errno
import os
import pickle
import shutil
import subprocess
import sys

import pytest

import qis
from qis import _key_file, _pkcs8
from qis.errors import InputError, KeyFileError, MissingExtraError

# RFC 8410, section 10.3: the example's private key, and its public key from section 10.1.
RFC_8410 = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
"""
RFC_8410_PUBLIC = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"


@pytest.fixture
def key_file(tmp_path):
    return tmp_path / "site.pem"


def test_saved_and_loaded_is_the_same_key_and_never_overwritten(key_file):
    site = qis.Identity.generate()
    site.save(key_file)
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert qis.Identity.load(key_file).issuer == site.issuer
    with pytest.raises(KeyFileError, match="not written"):
        site.save(key_file)


def test_the_example_of_rfc_8410_loads(key_file):
    key_file.write_text(RFC_8410, encoding="ascii")
    key_file.chmod(0o600)
    assert str(qis.Identity.load(key_file).issuer) == RFC_8410_PUBLIC


needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed"
)


def openssl(*arguments):
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout  # noqa: S603, S607


@needs_openssl
def test_openssl_and_we_read_each_others_keys(key_file, tmp_path):
    key_file.write_bytes(openssl("genpkey", "-algorithm", "ed25519"))
    key_file.chmod(0o600)
    site = qis.Identity.load(key_file)
    der = openssl("pkey", "-in", str(key_file), "-pubout", "-outform", "DER")
    assert der[-32:] == bytes(site.issuer)
    ours = tmp_path / "ours.pem"
    qis.Identity.from_seed(bytes(range(32))).save(ours)
    der = openssl("pkey", "-in", str(ours), "-pubout", "-outform", "DER")
    assert der[-32:] == bytes(qis.Identity.from_seed(bytes(range(32))).issuer)


@needs_openssl
@pytest.mark.parametrize(
    "way",
    [
        "-v2 aes-256-cbc",
        "-v2 aes-192-cbc -v2prf hmacWithSHA512",
        "-v2 aes-128-cbc -v2prf hmacWithSHA1 -iter 100000",
        "-scrypt",
        "-scrypt -scrypt_N 1024 -scrypt_r 4 -scrypt_p 3",
    ],
)
def test_what_openssl_has_encrypted_is_read(key_file, tmp_path, way):
    plain = tmp_path / "plain.pem"
    site = qis.Identity.generate()
    site.save(plain)
    openssl(
        *("pkcs8", "-topk8", "-in", str(plain), "-out", str(key_file)),
        *("-passout", "pass:\u00f6ffne dich", *way.split()),
    )
    key_file.chmod(0o600)
    assert qis.Identity.load(key_file, passphrase="o\u0308ffne dich").issuer == site.issuer
    for wrong, words in ((None, "give its passphrase"), ("anders", "does not open")):
        with pytest.raises(KeyFileError, match=words):
            qis.Identity.load(key_file, passphrase=wrong)


@needs_openssl
def test_openssl_reads_what_we_have_encrypted(key_file):
    site = qis.Identity.generate()
    site.save(key_file, passphrase="o\u0308ffne dich")
    assert "\n-----BEGIN ENCRYPTED PRIVATE KEY-----\n" in key_file.read_text()
    read = ("pkey", "-in", str(key_file), "-passin", "pass:\u00f6ffne dich")
    assert openssl(*read, "-pubout", "-outform", "DER")[-32:] == bytes(site.issuer)
    listed = openssl("asn1parse", "-in", str(key_file)).decode()
    assert all(word in listed for word in ("PBES2", "scrypt", "aes-256-cbc"))
    assert qis.Identity.load(key_file, passphrase="o\u0308ffne dich").issuer == site.issuer


# RFC 8410, section 10.3: the same key in version 2, with an attribute and the public key.
RFC_8410_V2 = """-----BEGIN PRIVATE KEY-----
MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB
Z9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PRIVATE KEY-----
"""


def test_version_2_of_rfc_5958_is_read_and_its_public_key_checked(key_file):
    key_file.write_text(RFC_8410_V2, encoding="ascii")
    key_file.chmod(0o600)
    assert str(qis.Identity.load(key_file).issuer) == RFC_8410_PUBLIC
    label, content = _key_file._unpem(RFC_8410_V2, key_file)
    bare = content[:48] + content[-35:]
    bare = b"\x30" + bytes([len(bare) - 2]) + bare[2:]  # without the attribute
    key_file.write_text(_key_file._pem(label, bare), encoding="ascii")
    assert str(qis.Identity.load(key_file).issuer) == RFC_8410_PUBLIC
    for whole in (content, bare):
        for offset in (20, len(whole) - 1):  # a bit of the seed, and one of the public key
            changed = whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :]
            key_file.write_text(_key_file._pem(label, changed), encoding="ascii")
            with pytest.raises(KeyFileError, match="damaged"):
                qis.Identity.load(key_file)


def test_a_file_of_former_versions_without_the_issuer_is_read(key_file):
    site = qis.Identity.generate()
    site.save(key_file)
    line, _, rest = key_file.read_text(encoding="ascii").partition("\n")
    assert line == f"qis issuer: {site.issuer}"
    key_file.write_text(rest, encoding="ascii")
    assert qis.Identity.load(key_file).issuer == site.issuer


@pytest.mark.parametrize("way", ["plain", "encrypted", "sealed"])
def test_no_damaged_file_loads_as_another_site(key_file, monkeypatch, way):
    monkeypatch.setattr(_pkcs8, "_N", 2)
    monkeypatch.setattr(_pkcs8, "_P", 1)
    monkeypatch.setattr(_key_file, "_OPERATIONS", 1)
    monkeypatch.setattr(_key_file, "_MEMORY", 8192)
    if way == "sealed":
        monkeypatch.setattr(_pkcs8, "is_available", lambda: False)
    passphrase = None if way == "plain" else "x"
    site = qis.Identity.from_seed(bytes(range(100, 132)))
    site.save(key_file, passphrase=passphrase)
    whole = key_file.read_text(encoding="ascii")

    def others(text):
        """How many changes of one character, or cuts, make another identity of the file."""
        found = 0
        for offset in range(len(text)):
            former = text[offset]
            for new in (chr(ord(former) ^ 1), ""):
                key_file.write_text(text[:offset] + new + text[offset + 1 :], encoding="ascii")
                with contextlib.suppress(KeyFileError):
                    found += qis.Identity.load(key_file, passphrase=passphrase).issuer != (
                        site.issuer
                    )
        for end in range(0, len(text), 3):
            key_file.write_text(text[:end], encoding="ascii")
            with contextlib.suppress(KeyFileError):
                found += qis.Identity.load(key_file, passphrase=passphrase).issuer != site.issuer
        return found

    assert others(whole) == 0
    if way != "sealed":  # the search does find what the line protects against
        assert others(whole.partition("\n")[2]) > 0


@pytest.mark.parametrize("line", ["qis issuer: ", "qis issuer: 00", "Bag Attributes"])
def test_another_line_before_the_key_is_refused(key_file, line):
    key_file.write_text(f"{line}\n{RFC_8410}", encoding="ascii")
    key_file.chmod(0o600)
    with pytest.raises(KeyFileError, match="begins neither"):
        qis.Identity.load(key_file)


def test_an_encrypted_file_cannot_ask_for_any_amount_of_work(key_file, monkeypatch):
    asked = []
    monkeypatch.setattr("hashlib.scrypt", lambda *_, **how: asked.append(how) or bytes(32))
    monkeypatch.setattr("hashlib.pbkdf2_hmac", lambda *how: asked.append(how) or bytes(32))
    sequence, put = _pkcs8._sequence, _pkcs8._put
    aes = put(6, next(iter(_pkcs8._AES)))
    for name, numbers in (
        (_pkcs8._SCRYPT, (2**24, 8, 1)),
        (_pkcs8._SCRYPT, (2**14, 8, 2**20)),
        (_pkcs8._PBKDF2, (2**31,)),
    ):
        parameters = sequence(put(4, bytes(8)), *map(_pkcs8._integer, numbers))
        scheme = sequence(sequence(put(6, name), parameters), sequence(aes, put(4, bytes(16))))
        greedy = sequence(sequence(put(6, _pkcs8._PBES2), scheme), put(4, bytes(64)))
        key_file.write_text(_key_file._pem("ENCRYPTED PRIVATE KEY", greedy), encoding="ascii")
        key_file.chmod(0o600)
        with pytest.raises(KeyFileError, match="too much work"):
            qis.Identity.load(key_file, passphrase="x")
    assert asked == []


# By openssl 3.0: genpkey -algorithm ed25519, then pkcs8 -topk8 -v2 aes-256-cbc; passphrase x.
ENCRYPTED = """-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjfQ1eEA/jdAQICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEECklL2wLpC1Lb9X0tPp2hCUEQJ8T
RfBgL+wabtL9teZ1vki0ubAp3W2pvmLAqa2eM9oknS2/yXvyDN1UCmsk6S53ZdtM
wyEKbIA/3NCYp+6ED8c=
-----END ENCRYPTED PRIVATE KEY-----
"""


def test_without_the_extra_an_encrypted_file_names_it(key_file, monkeypatch):
    key_file.touch(mode=0o600)
    key_file.write_text(ENCRYPTED, encoding="ascii")
    assert (
        str(qis.Identity.load(key_file, passphrase="x").issuer)
        == "3efb784cab82c139dc1d93e42bb51ce62cd8e4b62194056e8c35278b5996f59b"
    )
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers", None)
    with pytest.raises(MissingExtraError, match=r"qis-protocol\[keys\]"):
        qis.Identity.load(key_file, passphrase="x")


@needs_openssl
def test_another_encryption_is_refused_with_the_way_out(key_file):
    rsa = openssl("genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:1024")
    key_file.with_suffix(".rsa").write_bytes(rsa)
    for way, words in (("-v2 des3", "pkcs8 -topk8"), ("-v2 aes-256-cbc", "another kind")):
        key_file.unlink(missing_ok=True)
        openssl(
            *("pkcs8", "-topk8", "-in", str(key_file.with_suffix(".rsa")), *way.split()),
            *("-out", str(key_file), "-passout", "pass:x"),
        )
        key_file.chmod(0o600)
        with pytest.raises(KeyFileError, match=words):
            qis.Identity.load(key_file, passphrase="x")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644])
def test_a_key_that_others_may_touch_is_refused(key_file, mode):
    qis.Identity.generate().save(key_file)
    key_file.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600") as caught:
        qis.Identity.load(key_file)
    assert caught.value.actual == mode


@pytest.fixture
def quick(monkeypatch):
    """Files of our own form, with Argon2id's least work: the format is the same."""
    monkeypatch.setitem(sys.modules, "cryptography", None)  # as where the extra is absent
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers", None)
    monkeypatch.setattr(_key_file, "_OPERATIONS", 1)
    monkeypatch.setattr(_key_file, "_MEMORY", 8192)


@pytest.mark.usefixtures("quick")
def test_a_passphrase_seals_the_key(key_file):
    site = qis.Identity.from_seed(bytes(range(32)))
    site.save(key_file, passphrase="öffne dich")
    content = key_file.read_text(encoding="ascii")
    assert "SEALED" in content
    assert qis.Identity.load(key_file, passphrase="öffne dich").issuer == site.issuer
    for wrong, words in ((None, "give its passphrase"), ("anders", "does not open")):
        with pytest.raises(KeyFileError, match=words):
            qis.Identity.load(key_file, passphrase=wrong)
    with pytest.raises(KeyFileError, match="empty"):
        site.save(key_file.with_suffix(".2"), passphrase="")


@pytest.mark.usefixtures("quick")
def test_two_sealings_differ_and_any_change_is_found(key_file, tmp_path):
    site = qis.Identity.from_seed(bytes(range(32)))
    other = tmp_path / "other.pem"
    site.save(key_file, passphrase="x")
    site.save(other, passphrase="x")
    assert key_file.read_text() != other.read_text()
    lines = key_file.read_text().splitlines()
    for position in range(0, len(lines[1]), 7):
        changed = lines[1][:position] + ("A" if lines[1][position] != "A" else "B")
        lines_changed = [lines[0], changed + lines[1][position + 1 :], *lines[2:]]
        other.write_text("\n".join(lines_changed))
        with pytest.raises(KeyFileError):
            qis.Identity.load(other, passphrase="x")


def test_the_work_for_a_guess_is_not_small():
    assert _key_file._OPERATIONS >= 3
    assert _key_file._MEMORY >= 2**28


def test_a_passphrase_for_an_open_file_is_refused_since_it_protects_nothing(key_file):
    qis.Identity.generate().save(key_file)
    with pytest.raises(KeyFileError, match="protects nothing"):
        qis.Identity.load(key_file, passphrase="x")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        RFC_8410.replace("MC4C", "MC4D"),
        RFC_8410.replace("MC4C", "MC%C"),
        RFC_8410.replace("PRIVATE", "RSA PRIVATE"),
        RFC_8410.replace("MC4C", ""),
        "-----BEGIN QIS SEALED PRIVATE KEY-----\nAAAA\n-----END QIS SEALED PRIVATE KEY-----\n",
        "-----BEGIN QIS SEALED PRIVATE KEY-----\n\n-----END QIS SEALED PRIVATE KEY-----\n",
    ],
)
def test_what_is_no_key_file_is_refused(key_file, text):
    key_file.write_text(text, encoding="ascii")
    key_file.chmod(0o600)
    with pytest.raises(KeyFileError):
        qis.Identity.load(key_file, passphrase="x" if "SEALED" in text else None)


def test_a_file_cannot_ask_for_any_amount_of_work(key_file):
    greedy = bytes([255]) + b"\xff\xff\xff\xff" + bytes(16 + 72)
    key_file.write_text(_key_file._pem("QIS SEALED PRIVATE KEY", greedy), encoding="ascii")
    key_file.chmod(0o600)
    with pytest.raises(KeyFileError, match="too much work"):
        qis.Identity.load(key_file, passphrase="x")


CUT_SHORT = """
import resource, signal, sys
import qis
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40, 40))
try:
    qis.Identity.generate().save(sys.argv[1])
except qis.errors.KeyFileError as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(os.name != "posix", reason="limits on files are those of POSIX")
def test_a_full_disk_leaves_nothing_that_would_block_the_next_save(key_file):
    ended = subprocess.run(  # noqa: S603
        [sys.executable, "-c", CUT_SHORT, str(key_file)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ended.returncode == 1, ended.stderr
    assert "is not written" in ended.stderr
    assert list(key_file.parent.iterdir()) == []
    qis.Identity.generate().save(key_file)


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_disk_that_fails_late_leaves_nothing_either(key_file, monkeypatch, call):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        if call == "link":  # such as a file system without hard links
            qis.Identity.generate().save(key_file)
            with pytest.raises(KeyFileError, match="File exists"):
                qis.Identity.generate().save(key_file)
            assert list(key_file.parent.iterdir()) == [key_file]
            return
        with pytest.raises(KeyFileError, match="No space left"):
            qis.Identity.generate().save(key_file)
    assert list(key_file.parent.iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_a_passphrase_opens_however_its_accents_are_typed(key_file, tmp_path):
    composed, decomposed = "\u00f6ffne dich", "o\u0308ffne dich"
    site = qis.Identity.generate()
    site.save(key_file, passphrase=decomposed)
    for typed in (composed, decomposed):
        assert qis.Identity.load(key_file, passphrase=typed).issuer == site.issuer
    # As former versions sealed it: with the very characters that were typed.
    former = tmp_path / "former.pem"
    salt = bytes(16)
    box = _key_file._box(decomposed, salt, 1, 8192).encrypt(bytes(range(32)))
    content = bytes([1]) + (8192).to_bytes(4, "big") + salt + bytes(box)
    former.touch(mode=0o600)
    former.write_text(_key_file._pem("QIS SEALED PRIVATE KEY", content), encoding="ascii")
    assert (
        qis.Identity.load(former, passphrase=decomposed).issuer
        == qis.Identity.from_seed(bytes(range(32))).issuer
    )
    with pytest.raises(KeyFileError, match="does not open"):
        qis.Identity.load(former, passphrase="anders")


@pytest.mark.parametrize("passphrase", ["", "\udcff"])
def test_a_passphrase_that_is_no_text_is_refused(key_file, passphrase):
    with pytest.raises(KeyFileError, match="passphrase"):
        qis.Identity.generate().save(key_file, passphrase=passphrase)
    qis.Identity.generate().save(key_file)
    with pytest.raises(KeyFileError, match="passphrase"):
        qis.Identity.load(key_file, passphrase=passphrase)


def test_a_name_that_no_file_can_have_is_refused():
    with pytest.raises(InputError, match="null"):
        qis.Identity.load("a\0b")
    with pytest.raises(InputError, match="null"):
        qis.Identity.generate().save("a\0b")


def test_binary_and_missing_files_are_refused(key_file):
    with pytest.raises(KeyFileError, match="cannot be read"):
        qis.Identity.load(key_file)
    key_file.write_bytes(bytes(range(256)))
    key_file.chmod(0o600)
    with pytest.raises(KeyFileError, match="not text"):
        qis.Identity.load(key_file)


def test_the_secret_is_not_shown_copied_or_pickled():
    site = qis.Identity.from_seed(bytes(range(32)))
    assert bytes(range(32)).hex() not in repr(site) + str(site)
    for spread in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            spread(site)
    with pytest.raises(InputError):
        qis.Identity.from_seed(b"short")
