"""Secrets in what is shown or kept: those in addresses, and those that the environment holds."""

import os
import re
from urllib.parse import unquote

MASK = "…"
# scheme://user:password@ or scheme://token@; a password may hold an @ that nobody has escaped.
CREDENTIALS = re.compile(r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]*://)(?P<held>[^\s/?#'\"]*)@")
# SQLAlchemy lets a password hold everything but an @.
DATABASE = re.compile(
    r"(?P<scheme>\b(?:postgres|postgresql|mysql|mariadb|mssql|oracle)(?:\+\w+)?://)"
    r"(?P<held>[^\s:/@]*:[^\s@]*(?:@[^\s/?#'\"@]*)*)@"
)
WHOLE = re.compile(r"[^:/]*://[^:/]*:(?P<secret>[^@]*)@")  # the same of an address that is known
QUERY = re.compile(
    r"(?P<key>[?&][\w.-]*(?:password|passwd|token|secret|sig|signature)=)(?P<secret>[^\s&#'\"]+)",
    re.IGNORECASE,
)
SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY")
ADDRESSES = re.compile(r"MLFLOW_\w+_UR[IL]")  # variables
SHORTEST = 8  # characters of a secret that is looked for by itself: shorter ones are in any text


def masked(text: str) -> str:
    """A message without secrets: what may be shown, and kept as a reason.

    Beside what `masked_addresses` does, secrets of the environment that stand by themselves become
    `…`: a driver may name them.
    """
    text = masked_addresses(text)
    for secret in _known():
        text = text.replace(secret, MASK)
    return text


def masked_addresses(text: str) -> str:
    """The text with `…` for every address's password, or for what stands alone before the @."""
    for pattern in (DATABASE, CREDENTIALS):
        text = pattern.sub(_without_password, text)
    return QUERY.sub(rf"\g<key>{MASK}", text)


def shown(value: object) -> object:
    """A value as it may be kept: text is `masked`."""
    return masked(value) if isinstance(value, str) else value


def without_credentials(address: str) -> str:
    """An address as a browser is given it: it asks for the name and password itself."""
    return CREDENTIALS.sub(r"\g<scheme>", address)


def _without_password(found: re.Match[str]) -> str:
    user, colon, _ = found["held"].partition(":")
    return f"{found['scheme']}{f'{user}:{MASK}' if colon else MASK}@"


def _known() -> list[str]:
    """Secrets of the environment, as they are and without escapes, the longest first."""
    held = [os.environ.get(name, "") for name in SECRETS]
    for address in (os.environ[name] for name in os.environ if ADDRESSES.fullmatch(name)):
        for found in CREDENTIALS.finditer(address):
            user, colon, password = found["held"].partition(":")
            held.append(password if colon else user)
        held += [found["secret"] for known in (WHOLE, QUERY) for found in known.finditer(address)]
    every = {form for secret in held for form in (secret, unquote(secret))}
    return sorted((secret for secret in every if len(secret) >= SHORTEST), key=len, reverse=True)
