package tool

import (
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

// Hosts are the hosts that a tool may call in addition to its own, in the
// notation of [Config].AllowHosts and with the same rules. The zero value is
// empty: only public addresses are allowed.
type Hosts struct{ list allowList }

// NewHosts parses a list of hosts; the error names the wrong entry.
func NewHosts(entries []string) (Hosts, error) {
	l, err := newAllowList(entries)
	return Hosts{list: l}, err
}

// Names reports whether the list allows calls to the host and port of u.
func (h Hosts) Names(u *url.URL) bool { return h.list.names(u) }

// Dial refuses an address ("192.0.2.1:80", never a name) that is not public,
// unless the list contains it. The error is a [Failure].
func (h Hosts) Dial(address string) error {
	return h.list.reach(address, "an entry under allow of the tool: ")
}

// Transport dials only addresses that [Hosts.Dial] allows, whatever a name
// resolves to. r resolves names; nil means the system's.
func (h Hosts) Transport(r *net.Resolver) *http.Transport { return transport(h.Dial, r) }

// transport calls allowed with each address right before it is dialled.
func transport(allowed func(address string) error, r *net.Resolver) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Resolver: r,
		Control: func(_, address string, _ syscall.RawConn) error { return allowed(address) }}
	// No proxy: it would resolve names itself, so the address could not be
	// checked.
	return &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10}
}
