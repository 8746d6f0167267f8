"""The stand-in's SigV4 against AWS's published examples, and what it refuses."""
import dataclasses
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from aws import sigv4  # noqa: E402  (found by the line above)
from aws.query import Refusal  # noqa: E402
from aws.sigv4 import Credentials, Request, Verifier  # noqa: E402

# Of AWS's signature test suite and its guide "Signing AWS API requests": the key of all of them.
EXAMPLE = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
DATE, REGION = "20150830T123600Z", "us-east-1"
UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FORM = ("Content-Type", "application/x-www-form-urlencoded")
TOKEN = ("AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8Y"
         "UuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8Y"
         "QcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR"
         "/oLxBA==")
VANILLA = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
UNRESERVED_PATH = "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"

# name, method, path, query, headers besides Host and X-Amz-Date, body, signature
SUITE = [
    ("get-vanilla", "GET", "/", "", [], "", VANILLA),
    ("get-vanilla-query-order-key-case", "GET", "/", "Param2=value2&Param1=value1", [], "",
     "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
    ("get-vanilla-query-unreserved", "GET", "/", f"{UNRESERVED}={UNRESERVED}", [], "",
     "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"),
    ("get-vanilla-utf8-query", "GET", "/", "\u1234=bar", [], "",
     "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"),
    ("get-unreserved", "GET", f"/{UNRESERVED}", "", [], "", UNRESERVED_PATH),
    ("get-utf8", "GET", "/\u1234", "", [], "", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    ("get-space", "GET", "/example space/", "", [], "",
     "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"),
    ("get-slashes", "GET", "//example//", "", [], "",
     "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
    ("get-relative-relative", "GET", "/example1/example2/../..", "", [], "", VANILLA),
    ("get-slash-pointless-dot", "GET", f"/./{UNRESERVED}", "", [], "", UNRESERVED_PATH),
    ("get-header-value-trim", "GET", "/", "", [("My-Header1", " value1"), ("My-Header2", ' "a   b   c"')], "",
     "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"),
    ("get-header-key-duplicate", "GET", "/", "",
     [("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")], "",
     "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"),
    ("get-header-value-order", "GET", "/", "", [("My-Header1", f"value{n}") for n in (4, 1, 3, 2)], "",
     "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"),
    ("post-vanilla", "POST", "/", "", [], "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ("post-vanilla-query", "POST", "/", "Param1=value1", [], "",
     "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"),
    ("post-header-key-sort", "POST", "/", "", [("My-Header1", "value1")], "",
     "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"),
    ("post-x-www-form-urlencoded", "POST", "/", "", [FORM], "Param1=value1",
     "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
    ("post-x-www-form-urlencoded-parameters", "POST", "/", "", [(FORM[0], FORM[1] + "; charset=utf8")],
     "Param1=value1", "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe"),
    ("post-sts-header-before", "POST", "/", "", [("X-Amz-Security-Token", TOKEN)], "",
     "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"),
]


def as_sent(method, path, query, headers, body, signature, service="service", host="example.amazonaws.com"):
    """A request with that signature in its Authorization, all headers signed."""
    headers = [("Host", host), *headers, ("X-Amz-Date", DATE)]
    names = sorted({name.lower() for name, _ in headers})
    authorization = (f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/{REGION}/{service}/aws4_request, "
                     f"SignedHeaders={';'.join(names)}, Signature={signature}")
    return Request(method, path, query, [*headers, ("Authorization", authorization)], body.encode())


def verifier(now=DATE, token=None, **facts):
    keys = {EXAMPLE.key: dataclasses.replace(EXAMPLE, token=token, **facts)}
    return Verifier(keys, REGION, lambda: sigv4.epoch_of(now))


class PublishedExamples(unittest.TestCase):
    def test_each_is_accepted_and_none_with_another_secret(self):
        for name, *facts in SUITE:
            with self.subTest(name):
                request = as_sent(*facts)
                token = request.header("x-amz-security-token")
                self.assertEqual(verifier(token=token).verify(request, "service").key, "AKIDEXAMPLE")
                with self.assertRaises(Refusal) as caught:
                    verifier(token=token, secret=EXAMPLE.secret + "x").verify(request, "service")
                self.assertEqual(caught.exception.code, "SignatureDoesNotMatch")

    def test_the_guides_walk_through(self):
        """IAM's ListUsers, with the intermediate values that the guide prints."""
        request = as_sent("GET", "/", "Action=ListUsers&Version=2010-05-08", [(FORM[0], FORM[1] + "; charset=utf-8")],
                          "", "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7", "iam",
                          "iam.amazonaws.com")
        canonical = sigv4.canonical_request(request, ["content-type", "host", "x-amz-date"])
        self.assertEqual(sigv4.string_to_sign(DATE, "20150830/us-east-1/iam/aws4_request", canonical).split("\n")[3],
                         "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59")
        verifier().verify(request, "iam")

    def test_what_sign_makes_is_what_was_published(self):
        request = Request("POST", "/", "", [("Host", "example.amazonaws.com"), FORM], b"Param1=value1")
        signed = sigv4.sign(request, EXAMPLE, REGION, "service", sigv4.epoch_of(DATE))
        self.assertIn("ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a", signed.header("authorization"))


class Refusals(unittest.TestCase):
    def setUp(self):
        self.request = Request("POST", "/", "", [("Host", "127.0.0.1"), FORM], b"Action=DeregisterTargets")

    def signed(self, credentials=EXAMPLE, region=REGION, service="elasticloadbalancing", date=DATE):
        return sigv4.sign(self.request, credentials, region, service, sigv4.epoch_of(date))

    def assert_refused(self, request, status, code, words="", **facts):
        with self.assertRaises(Refusal) as caught:
            verifier(**facts).verify(request, "elasticloadbalancing")
        self.assertEqual((caught.exception.status, caught.exception.code), (status, code))
        self.assertIn(words, caught.exception.message)

    def without(self, request, name):
        return dataclasses.replace(request, headers=[pair for pair in request.headers if pair[0].lower() != name])

    def altered(self, request, old, new):
        headers = [(name, value.replace(old, new) if name == "Authorization" else value)
                   for name, value in request.headers]
        self.assertNotEqual(headers, request.headers)
        return dataclasses.replace(request, headers=headers)

    def test_whose_request_it_is(self):
        self.assert_refused(self.request, 403, "MissingAuthenticationToken")
        self.assert_refused(self.signed(Credentials("AKIASTRANGER", "x")), 403, "InvalidClientTokenId")
        self.assert_refused(self.signed(Credentials(EXAMPLE.key, "x")), 403, "SignatureDoesNotMatch", "Secret Access Key")
        temporary = dataclasses.replace(EXAMPLE, token="token/+=")
        verifier(token="token/+=").verify(self.signed(temporary), "elasticloadbalancing")
        self.assert_refused(self.signed(temporary), 403, "InvalidClientTokenId", token="another")
        self.assert_refused(self.signed(), 403, "InvalidClientTokenId", token="token/+=")
        self.assert_refused(self.signed(temporary), 403, "ExpiredToken", token="token/+=",
                            expires=sigv4.epoch_of(DATE))

    def test_what_was_signed(self):
        signed = self.signed()
        for spoiled in (dataclasses.replace(signed, body=b"Action=RegisterTargets"),
                        dataclasses.replace(signed, path="/x"), dataclasses.replace(signed, query="x=1"),
                        dataclasses.replace(signed, method="GET")):
            self.assert_refused(spoiled, 403, "SignatureDoesNotMatch")
        self.assert_refused(self.altered(signed, "host;", ""), 403, "SignatureDoesNotMatch", "'host' must be")
        self.assert_refused(self.altered(signed, ";x-amz-date", ""), 403, "SignatureDoesNotMatch", "'x-amz-date' must be")
        temporary = self.signed(dataclasses.replace(EXAMPLE, token="t"))
        self.assert_refused(self.altered(temporary, ";x-amz-security-token", ""), 403, "SignatureDoesNotMatch",
                            "'x-amz-security-token' must be", token="t")

    def test_where_and_when(self):
        self.assert_refused(self.signed(region="eu-west-1"), 403, "SignatureDoesNotMatch", "valid region, not 'eu-west-1'")
        self.assert_refused(self.signed(service="autoscaling"), 403, "SignatureDoesNotMatch",
                            "correct service: 'elasticloadbalancing'")
        self.assert_refused(self.altered(self.signed(), "/20150830/", "/20150829/"), 403, "SignatureDoesNotMatch",
                            "'20150829' != '20150830', from '20150830T123600Z'")
        verifier(now="20150830T125100Z").verify(self.signed(), "elasticloadbalancing")
        self.assert_refused(self.signed(), 403, "SignatureDoesNotMatch", "Signature expired: 20150830T123600Z is now "
                            "earlier than 20150830T123601Z (20150830T125101Z - 15 min.)", now="20150830T125101Z")
        self.assert_refused(self.signed(), 403, "SignatureDoesNotMatch", "Signature not yet current: 20150830T123600Z is "
                            "still later than 20150830T123559Z (20150830T122059Z + 15 min.)", now="20150830T122059Z")

    def test_malformed(self):
        self.assert_refused(self.without(self.signed(), "x-amz-date"), 400, "IncompleteSignature")
        self.assert_refused(self.altered(self.signed(), "AWS4-HMAC-SHA256", "AWS3"), 400, "IncompleteSignature")
        self.assert_refused(self.altered(self.signed(), "Signature=", "Sig="), 400, "IncompleteSignature", "'Signature'")
        self.assert_refused(self.altered(self.signed(), "/us-east-1", ""), 400, "IncompleteSignature", "5 slash")


if __name__ == "__main__":
    unittest.main()
