# A stand-in for the package nkeys: keys of users, signed as RFC 8032 says.
import base64, hashlib
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Y = 4 * pow(5, -1, P) % P
B = (15112221349535400772501151409588531511454012693041857206046113283949847762202, Y)
def add(p, q):
    (a, b), (c, d) = p, q
    k = D * a * b * c * d % P
    return (a * d + b * c) * pow(1 + k, -1, P) % P, (b * d + a * c) * pow(1 - k, -1, P) % P
def times(n, p):
    q = (0, 1)
    while n:
        if n & 1: q = add(q, p)
        p, n = add(p, p), n >> 1
    return q
def pack(p): return (p[1] | (p[0] & 1) << 255).to_bytes(32, "little")
def number(data): return int.from_bytes(data, "little")
def crc(data):
    c = 0
    for byte in data:
        c ^= byte << 8
        for _ in range(8): c = (c << 1 ^ (0x1021 if c & 0x8000 else 0)) & 0xffff
    return c
class KeyPair:
    def __init__(self, seed):
        h = hashlib.sha512(seed).digest()
        self.a, self.prefix = number(h[:32]) & (2**254 - 8) | 2**254, h[32:]
        self.public = pack(times(self.a, B))
    @property
    def public_key(self):
        raw = bytes([20 << 3]) + self.public
        return base64.b32encode(raw + crc(raw).to_bytes(2, "little")).rstrip(b"=")
    def sign(self, data):
        r = number(hashlib.sha512(self.prefix + data).digest()) % L
        R = pack(times(r, B))
        k = number(hashlib.sha512(R + self.public + data).digest()) % L
        return R + ((r + k * self.a) % L).to_bytes(32, "little")
    def wipe(self): pass
def from_seed(seed):
    raw = base64.b32decode(bytes(seed) + b"=" * (-len(seed) % 8))
    assert raw[0] & 0xf8 == 18 << 3 and crc(raw[:-2]) == number(raw[-2:])
    return KeyPair(raw[2:34])
