"""AWS's Query API on the wire: a form in, XML out, errors as `<ErrorResponse>`."""
import dataclasses
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape


class Refusal(Exception):
    """What AWS answers instead of a result. `kind` is Sender (the caller's fault) or Receiver."""

    def __init__(self, status, code, message, kind=None):
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message = status, code, message
        self.kind = kind or ("Sender" if status < 500 else "Receiver")


def validation(message):
    return Refusal(400, "ValidationError", message)


class Parameters:
    """A call's form: `Name`, `List.member.1`, `List.member.1.Field`."""

    def __init__(self, pairs):
        self.flat = dict(pairs)

    @classmethod
    def of(cls, query, body):
        text = "&".join(part for part in (query, body.decode("utf-8", "replace")) if part)
        return cls(parse_qsl(text, keep_blank_values=True))

    def get(self, name, default=None):
        return self.flat.get(name, default)

    def require(self, name, message=None):
        value = self.flat.get(name)
        if not value:
            raise validation(message or f"1 validation error detected: Value null at '{name[0].lower()}{name[1:]}' "
                             "failed to satisfy constraint: Member must not be null")
        return value

    def members(self, name):
        """A list of strings, or of dicts where the members have fields; in the order of their numbers."""
        found, prefix = {}, name + ".member."
        for key, value in self.flat.items():
            if key.startswith(prefix):
                number, _, field = key[len(prefix):].partition(".")
                if not number.isdigit():
                    raise Refusal(400, "MalformedInput", f"'{key}' isn't numbered")
                if field:
                    found.setdefault(int(number), {})[field] = value
                else:
                    found[int(number)] = value
        return [found[number] for number in sorted(found)]


@dataclasses.dataclass
class Call:
    """One call as it was made, and what became of it. `at` is in seconds of boot time."""
    at: float
    service: str
    action: str
    parameters: Parameters
    key: str = ""
    status: int = 0         # of the answer; 0 where the connection was broken instead
    code: str = ""          # of the error, as AWS names it
    trouble: str = ""       # what was done to it on a test's demand
    seconds: float = 0.0
    headers: dict = dataclasses.field(default_factory=dict)   # names in lower case


class Xml:
    """Replies. With a `random`, the order inside structures is shuffled: AWS's own isn't fixed."""

    def __init__(self, random=None):
        self.random = random

    def result(self, namespace, action, value, request_id):
        """`<ActionResponse>` as the Query protocol has it; `value` may be empty."""
        return self._document(f"{action}Response", namespace, self._element(f"{action}Result", value or {}, 1)
                              + self._element("ResponseMetadata", {"RequestId": request_id}, 1))

    def error(self, namespace, refusal, request_id):
        facts = {"Type": refusal.kind, "Code": refusal.code, "Message": refusal.message}
        return self._document("ErrorResponse", namespace, self._element("Error", facts, 1, ordered=True)
                              + self._element("RequestId", request_id, 1))

    @staticmethod
    def _document(root, namespace, inner):
        return f'<{root} xmlns="{namespace}">\n{inner}</{root}>\n'.encode()

    def _element(self, name, value, depth, ordered=False):
        pad = "  " * depth
        if isinstance(value, bool):
            value = "true" if value else "false"
        if isinstance(value, dict):
            children = [(key, child) for key, child in value.items() if child is not None]
            if self.random and not ordered:
                self.random.shuffle(children)
        elif isinstance(value, (list, tuple)):
            children = [("member", child) for child in value]
        else:
            return f"{pad}<{name}>{escape(str(value))}</{name}>\n"
        if not children:
            return f"{pad}<{name}/>\n"
        inner = "".join(self._element(key, child, depth + 1) for key, child in children)
        return f"{pad}<{name}>\n{inner}{pad}</{name}>\n"
