import asyncio
class Error(Exception): pass
class TimeoutError(asyncio.TimeoutError): pass
class NoRespondersError(Error): pass
class MsgAlreadyAckdError(Error): pass
