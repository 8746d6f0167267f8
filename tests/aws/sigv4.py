"""AWS's Signature Version 4, on the side that checks it; and signing, for tests that speak by themselves.

The rules are those of "Signing AWS API requests" in AWS's general reference: docs of the canonical
request, the string to sign and the derived key. tests/live/aws_sigv4_test.py holds this file to
AWS's published examples.
"""
import dataclasses
import datetime
import hashlib
import hmac
from urllib.parse import quote, unquote_to_bytes

from .query import Refusal

ALGORITHM = "AWS4-HMAC-SHA256"
MISMATCH = ("The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method. Consult the service documentation for details.")


@dataclasses.dataclass(frozen=True)
class Request:
    """As it came over the wire: nothing decoded, headers as a list of pairs."""
    method: str
    path: str
    query: str
    headers: list
    body: bytes = b""

    def header(self, name):
        """The canonical value: repeated ones joined, white space collapsed; None if it wasn't sent."""
        values = [" ".join(value.split()) for key, value in self.headers if key.lower() == name]
        return ",".join(values) if values else None


@dataclasses.dataclass
class Credentials:
    """`expires` is an epoch time; None: never. Only temporary ones have a token."""
    key: str
    secret: str
    token: str = None
    expires: float = None


def amz_date(epoch):
    return datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")


def epoch_of(date):
    moment = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ")
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp()


def is_date(text):
    try:
        return epoch_of(text) is not None
    except ValueError:
        return False


def canonical_path(path):
    """Dot segments and empty segments removed, then encoded once more: as all services but S3 have it."""
    kept = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    normal = "/" + "/".join(kept)
    if kept and path.endswith(("/", "/.", "/..")):
        normal += "/"
    return quote(normal, safe="/-_.~")


def canonical_query(query):
    def encoded(text):
        return quote(unquote_to_bytes(text), safe="-_.~")
    pairs = [part.partition("=") for part in query.split("&") if part]
    return "&".join(f"{name}={value}" for name, value in sorted((encoded(n), encoded(v)) for n, _, v in pairs))


def canonical_request(request, signed_headers):
    headers = "".join(f"{name}:{request.header(name)}\n" for name in signed_headers)
    return "\n".join([request.method, canonical_path(request.path), canonical_query(request.query), headers,
                      ";".join(signed_headers), hashlib.sha256(request.body).hexdigest()])


def string_to_sign(date, scope, canonical):
    return "\n".join([ALGORITHM, date, scope, hashlib.sha256(canonical.encode()).hexdigest()])


def signature(secret, scope, text):
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def sign(request, credentials, region, service, epoch):
    """The request with X-Amz-Date, the token if there is one, and Authorization; all its headers signed."""
    date = amz_date(epoch)
    headers = [*request.headers, ("X-Amz-Date", date)]
    if credentials.token:
        headers.append(("X-Amz-Security-Token", credentials.token))
    signed = dataclasses.replace(request, headers=headers)
    names = sorted({name.lower() for name, _ in headers})
    scope = f"{date[:8]}/{region}/{service}/aws4_request"
    proof = signature(credentials.secret, scope, string_to_sign(date, scope, canonical_request(signed, names)))
    authorization = (f"{ALGORITHM} Credential={credentials.key}/{scope}, SignedHeaders={';'.join(names)}, "
                     f"Signature={proof}")
    return dataclasses.replace(signed, headers=[*headers, ("Authorization", authorization)])


class Verifier:
    """Says whose request it is, or why it is nobody's: a `Refusal` in AWS's words.

    `keys` maps key ids to `Credentials`; `wall` is a function that returns the epoch time.
    """

    TOLERANCE = 15 * 60

    def __init__(self, keys, region, wall):
        self.keys, self.region, self.wall = keys, region, wall
        self.skew_code = "SignatureDoesNotMatch"    # some services say RequestTimeTooSkewed

    def verify(self, request, service):
        authorization = request.header("authorization")
        if not authorization:
            raise Refusal(403, "MissingAuthenticationToken", "Request is missing Authentication Token")
        key, scope, signed_headers, given = self._parsed(authorization)
        date = request.header("x-amz-date")
        if not date or not is_date(date):
            raise Refusal(400, "IncompleteSignature", "Authorization header requires existence of either a "
                          f"'X-Amz-Date' or a 'Date' header. Authorization={ALGORITHM}")
        credentials = self._credentials(key, request.header("x-amz-security-token"))
        self._check_scope(scope, date, service)
        self._check_headers(request, signed_headers)
        self._check_time(date)
        canonical = canonical_request(request, signed_headers)
        text = string_to_sign(date, scope, canonical)
        if not hmac.compare_digest(signature(credentials.secret, scope, text), given):
            raise Refusal(403, "SignatureDoesNotMatch", f"{MISMATCH}\n\nThe Canonical String for this request should "
                          f"have been\n'{canonical}'\n\nThe String-to-Sign should have been\n'{text}'\n")
        return credentials

    @staticmethod
    def _parsed(authorization):
        algorithm, _, rest = authorization.partition(" ")
        if algorithm != ALGORITHM:
            raise Refusal(400, "IncompleteSignature", f"Unsupported AWS 'algorithm': '{algorithm}'")
        facts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
        missing = [name for name in ("Credential", "Signature", "SignedHeaders") if not facts.get(name)]
        if missing:
            raise Refusal(400, "IncompleteSignature", " ".join(
                f"Authorization header requires '{name}' parameter." for name in missing)
                + f" Authorization={authorization}")
        key, _, scope = facts["Credential"].partition("/")
        if scope.count("/") != 3:
            raise Refusal(400, "IncompleteSignature", "Credential must have exactly 5 slash-delimited elements, e.g. "
                          f"keyid/date/region/service/term, got '{facts['Credential']}'")
        return key, scope, facts["SignedHeaders"].split(";"), facts["Signature"]

    def _credentials(self, key, token):
        credentials = self.keys.get(key)
        if credentials is None or credentials.token != token:
            raise Refusal(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
        if credentials.expires is not None and self.wall() >= credentials.expires:
            raise Refusal(403, "ExpiredToken", "The security token included in the request is expired")
        return credentials

    def _check_scope(self, scope, date, service):
        day, region, name, term = scope.split("/")
        wrong = []
        if day != date[:8]:
            wrong.append("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
                         f"'{day}' != '{date[:8]}', from '{date}'.")
        if region != self.region:
            wrong.append(f"Credential should be scoped to a valid region, not '{region}'. ")
        if name != service:
            wrong.append(f"Credential should be scoped to correct service: '{service}'. ")
        if term != "aws4_request":
            wrong.append(f"Credential should be scoped with a valid terminator: 'aws4_request', not '{term}'. ")
        if wrong:
            raise Refusal(403, "SignatureDoesNotMatch", "".join(wrong))

    @staticmethod
    def _check_headers(request, signed_headers):
        must = ["host", "x-amz-date"] + ["x-amz-security-token"] * (request.header("x-amz-security-token") is not None)
        for name in must:
            if name not in signed_headers:
                raise Refusal(403, "SignatureDoesNotMatch",
                              f"'{name}' must be a 'SignedHeader' in the AWS Authorization.")
        if signed_headers != sorted(signed_headers) or any(request.header(name) is None for name in signed_headers):
            raise Refusal(403, "SignatureDoesNotMatch", MISMATCH)
        declared = request.header("x-amz-content-sha256")
        if declared and declared != hashlib.sha256(request.body).hexdigest():
            raise Refusal(403, "SignatureDoesNotMatch", MISMATCH)

    def _check_time(self, date):
        now, then = self.wall(), epoch_of(date)
        if then < now - self.TOLERANCE:
            raise Refusal(403, self.skew_code, f"Signature expired: {date} is now earlier than "
                          f"{amz_date(now - self.TOLERANCE)} ({amz_date(now)} - 15 min.)")
        if then > now + self.TOLERANCE:
            raise Refusal(403, self.skew_code, f"Signature not yet current: {date} is still later than "
                          f"{amz_date(now + self.TOLERANCE)} ({amz_date(now)} + 15 min.)")
