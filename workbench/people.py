"""Who uses the app and what they may do: roles, and the file of people that a server needs beyond loopback.

On loopback without a file, whoever reaches the server is its operator. A server that other machines can reach demands
a login; its people are in a JSON file that holds a salted scrypt hash of each password (RFC 7914), never the password.
A hosted Space without a file is a demo: visitors are annotators, and the server's own rules keep paths from them.
"""

from __future__ import annotations

import argparse
import getpass
import hashlib
import hmac
import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from executors.errors import InputError, MissingFileError, OutputError, WorkbenchError
from executors.files import partial_path

_SCRYPT = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}
"""OWASP's password storage advice for scrypt allows less memory with a larger p; this takes 16 MiB and ~50 ms."""
COMMAND = "python -m workbench.people"
MIN_PASSWORD_LENGTH = 10
MAX_NAME_LENGTH = 64


class Role(IntEnum):
    """What a person may do; each role may also do all that the ones before it may.

    VIEWER looks at what is stored. ANNOTATOR also makes episodes and edits trajectories. REVIEWER also accepts, returns
    and mends what others edited. OPERATOR also names checkpoints and servers, launches training and lets planners act
    on real devices. Files hold the names, never the numbers.
    """

    VIEWER = 1
    ANNOTATOR = 2
    REVIEWER = 3
    OPERATOR = 4


class RoleError(WorkbenchError, PermissionError):
    """A person asked for what their role does not allow."""

    __str__ = Exception.__str__


def role_named(name: str) -> Role:
    """The role of this name, in any case; raises InputError with the names there are."""
    try:
        return Role[name.upper()]
    except KeyError:
        names = ", ".join(role.name.lower() for role in Role)
        raise InputError(f"role {name!r} is unknown: give one of {names}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A name, a role, and what the password is checked against."""

    name: str
    role: Role
    salt: bytes = field(repr=False)
    password_hash: bytes = field(repr=False)

    def admits(self, password: str) -> bool:
        """Whether this is the person's password; takes the same time either way."""
        return hmac.compare_digest(self.password_hash, _hash(password, self.salt))


def make_person(name: str, role: Role, password: str) -> Person:
    """A person with a fresh salt.

    Raises:
        InputError: the name is empty, too long or has control characters, or the password is too short.
    """
    name = name.strip()
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise InputError(f"name {name!r} is not allowed: give 1..{MAX_NAME_LENGTH} printable characters")
    if len(password) < MIN_PASSWORD_LENGTH:
        raise InputError(f"the password of {name} is too short: give at least {MIN_PASSWORD_LENGTH} characters")
    salt = secrets.token_bytes(16)
    return Person(name=name, role=role, salt=salt, password_hash=_hash(password, salt))


def _hash(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, **_SCRYPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """The people of a server; without any, everyone who reaches it has `open_role`."""

    by_name: Mapping[str, Person] = field(default_factory=dict)
    open_role: Role = Role.OPERATOR

    @property
    def must_log_in(self) -> bool:
        """Whether the server demands a login."""
        return bool(self.by_name)

    def admits(self, name: str, password: str) -> bool:
        """Whether name and password belong together; an unknown name takes as long as a known one."""
        person = self.by_name.get(name.strip())
        if person is None:
            _hash(password, b"nobody")
            return False
        return person.admits(password)

    def role_of(self, name: str | None) -> Role | None:
        """The role of whoever is logged in under this name; None for a stranger on a server that demands a login."""
        if not self.must_log_in:
            return self.open_role
        person = self.by_name.get(name or "")
        return None if person is None else person.role


    def check(self, name: str | None, needed: Role, what: str) -> None:
        """Does nothing when this person may do `what` ("make forecasts"), which takes the role `needed`.

        Raises:
            RoleError: they may not.
        """
        role = self.role_of(name)
        if role is None:
            raise RoleError(f"only people who are logged in may {what}: open the page again and log in")
        if role < needed:
            raise RoleError(
                f"a {role.name.lower()} may not {what}: ask who runs this server for the role {needed.name.lower()}"
            )


def name_of(request: object | None) -> str:
    """The login name that a page's request came with; empty where nobody logs in."""
    return getattr(request, "username", None) or ""


def person_of(request: object | None) -> str:
    """Who did it, for logs and messages."""
    return name_of(request) or "the person at the page"


def read_people(path: Path) -> People:
    """The people of a file that `write_people` wrote.

    Raises:
        MissingFileError: the file does not exist or cannot be read.
        InputError: it is damaged, or nobody is in it.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["people"]
        people = [
            Person(
                name=entry["name"], role=role_named(entry["role"]), salt=bytes.fromhex(entry["salt"]),
                password_hash=bytes.fromhex(entry["scrypt"]),
            )
            for entry in entries
        ]
    except OSError as error:
        raise MissingFileError(
            f"people file {path} cannot be read ({error.strerror}): make it with `{COMMAND} {path} NAME:ROLE`"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"people file {path} is damaged ({error}): make it again with `{COMMAND}`") from None
    if not people:
        raise InputError(f"people file {path} names nobody: add someone with `{COMMAND} {path} NAME:ROLE`")
    return People(by_name={person.name: person for person in people})


def write_people(path: Path, people: Mapping[str, Person]) -> None:
    """Writes the file whole or not at all, readable by its owner only; raises OutputError when it cannot."""
    entries = [
        {"name": p.name, "role": p.role.name.lower(), "salt": p.salt.hex(), "scrypt": p.password_hash.hex()}
        for p in people.values()
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = partial_path(path)
        temporary.touch(mode=0o600)
        temporary.chmod(0o600)
        temporary.write_text(json.dumps({"people": entries}, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"people file {path} cannot be written ({error.strerror}): choose another place") from None


def add_person(path: Path, spec: str, password: str) -> Person:
    """Adds a person to a file, or gives one who is there a new role and password.

    Args:
        path: the people file; is made when it does not exist.
        spec: "NAME:ROLE"; the role is viewer, annotator, reviewer or operator.
        password: at least `MIN_PASSWORD_LENGTH` characters.

    Raises:
        InputError: name, role or password is not allowed, or the file is damaged.
        OutputError: the file cannot be written.
    """
    name, colon, role = spec.rpartition(":")
    if not colon:
        raise InputError(f"{spec!r} is not NAME:ROLE: write for example ada:annotator")
    person = make_person(name, role_named(role), password)
    known = dict(read_people(path).by_name) if path.exists() else {}
    write_people(path, {**known, person.name: person})
    return person


def main(argv: Sequence[str] | None = None) -> int:
    """Adds a person on the command line; the password is asked for, or read from a pipe. Returns the exit code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Add a person to the people file of a server.")
    parser.add_argument("file", type=Path, help="people file; is made when it does not exist")
    parser.add_argument("person", metavar="NAME:ROLE", help="role: viewer, annotator, reviewer or operator")
    args = parser.parse_args(argv)
    try:
        password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
        person = add_person(args.file, args.person, password)
    except WorkbenchError as error:
        print(f"{COMMAND}: {error}", file=sys.stderr)
        return 2
    print(f"{person.name} is {person.role.name.lower()} in {args.file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
