package tool

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// allowance is one entry of Config.AllowHosts: a name or addresses.
type allowance struct {
	entry  string       // as it was written
	name   string       // lower case; empty when there is a prefix
	below  bool         // every host below name, not name itself
	prefix netip.Prefix // addresses
	port   string       // empty means every port
}

func newAllowance(entry string) (allowance, error) {
	a := allowance{entry: strings.TrimSpace(entry)}
	host := strings.ToLower(a.entry)
	if p, err := netip.ParsePrefix(host); err == nil {
		a.prefix = p.Masked()
		return a, nil
	}
	host, a.below = strings.CutPrefix(host, "*.")
	if h, port, err := net.SplitHostPort(host); err == nil && !strings.Contains(host, "/") {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return a, fmt.Errorf("allowed host %q: the port must be a number from 1 to 65535", entry)
		}
		host, a.port = h, port
	}
	host = strings.Trim(host, "[]")
	if ip, err := netip.ParseAddr(host); err == nil && !a.below {
		a.prefix = netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen())
		return a, nil
	}
	a.name = strings.TrimSuffix(host, ".")
	if a.name == "" || strings.ContainsAny(a.name, "/:@*?[] ") {
		return a, fmt.Errorf("allowed host %q: write a host such as example.com, *.example.com, localhost:8080 or 10.0.0.0/8, without scheme and path", entry)
	}
	return a, nil
}

// host reports whether the entry allows calls to a host by this name.
func (a allowance) host(name, port string) bool {
	if a.port != "" && a.port != port {
		return false
	}
	if a.name == "" {
		ip, err := netip.ParseAddr(name)
		return err == nil && a.prefix.Contains(ip.Unmap())
	}
	if a.below {
		return strings.HasSuffix(name, "."+a.name)
	}
	return name == a.name
}

// inside reports whether the entry allows a non-public address.
func (a allowance) inside(ap netip.AddrPort) bool {
	if a.port != "" && a.port != strconv.Itoa(int(ap.Port())) {
		return false
	}
	if a.name == "" {
		return a.prefix.Contains(ap.Addr())
	}
	return a.name == "localhost" && !a.below && ap.Addr().IsLoopback()
}

// allowList holds the hosts that http_get may call.
type allowList []allowance

func newAllowList(entries []string) (allowList, error) {
	var l allowList
	for _, e := range entries {
		a, err := newAllowance(e)
		if err != nil {
			return nil, err
		}
		l = append(l, a)
	}
	return l, nil
}

func (l allowList) String() string {
	var entries []string
	for _, a := range l {
		entries = append(entries, a.entry)
	}
	return strings.Join(entries, ", ")
}

// check refuses an address that is not allowed, before anything is resolved.
func (l allowList) check(u *url.URL) error {
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return Fail("the scheme %.20q is not allowed: only http and https are", u.Scheme)
	case host == "":
		return Fail("%.200q names no host: give a whole address, such as https://example.com/page", u.Redacted())
	case u.User != nil:
		return Fail("the address holds a user name or password: leave it out")
	}
	if l.names(u) {
		return nil
	}
	return Fail("the host %.200q with port %s is not allowed. Allowed are: %s. The operator of the tool worker can allow it with --allow-host %.200s",
		host, portOf(u), l, host)
}

// names reports whether an entry allows calls to the host of u.
func (l allowList) names(u *url.URL) bool {
	host, port := strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), portOf(u)
	return slices.ContainsFunc(l, func(a allowance) bool { return a.host(host, port) })
}

// portOf returns the port of u, or the default of its scheme.
func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "http":
		return "80"
	}
	return "443"
}

// dial is [allowList.reach] for http_get.
func (l allowList) dial(address string) error { return l.reach(address, "--allow-host ") }

// reach refuses a non-public address, unless it is allowed. It gets the
// resolved address right before it is dialled, so it also refuses a name that
// resolves, or later resolves, to a non-public address. how is the setting that
// would allow the address, for the error.
func (l allowList) reach(address, how string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return Fail("the address %s cannot be checked: %v", address, err)
	}
	ap = netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
	if public(ap.Addr()) || slices.ContainsFunc(l, func(a allowance) bool { return a.inside(ap) }) {
		return nil
	}
	return Fail("the host resolves to %s, which is not a public address. The operator of the tool worker can allow it with %s%s",
		ap.Addr(), how, ap.Addr())
}

// public reports whether an address belongs to the open internet.
//
// Source: https://www.iana.org/assignments/iana-ipv4-special-registry and
// https://www.iana.org/assignments/iana-ipv6-special-registry
func public(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, special := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		// IPv6 with an embedded IPv4 address, for documentation, or discarded.
		"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "fec0::/10",
	} {
		if p, err := netip.ParsePrefix(special); err == nil && p.Contains(a) {
			return false
		}
	}
	return true
}
