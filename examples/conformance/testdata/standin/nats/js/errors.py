from ..errors import Error as Base
class Error(Base): pass
class APIError(Error):
    def __init__(self, code=None, description=None, err_code=None):
        super().__init__(f"nats: {type(self).__name__}: code={code} err_code={err_code} description='{description}'")
        self.code, self.description, self.err_code = code, description, err_code
    @classmethod
    def from_error(cls, e): raise {503: ServiceUnavailableError, 500: ServerError, 404: NotFoundError, 400: BadRequestError}.get(e["code"], APIError)(**e)
    @classmethod
    def from_msg(cls, m): raise APIError(code=int(m.headers["Status"]), description=m.headers.get("Description"))
class ServiceUnavailableError(APIError): pass
class ServerError(APIError): pass
class NotFoundError(APIError): pass
class BadRequestError(APIError): pass
class NoStreamResponseError(Error): pass
