class APIError(Exception):
    @classmethod
    def from_error(cls, e): return (NotFoundError if e.get("code") == 404 else APIError)(e)
class NotFoundError(APIError): pass
class KeyNotFoundError(APIError): pass
