package tool

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

func TestAllowListChecksAddresses(t *testing.T) {
	list, err := newAllowList([]string{"Example.com", "*.wild.org", "ported.net:8443", "10.1.2.3", "[::1]:9000", "192.168.0.0/16", "localhost:8080"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, url string
		ok        bool
	}{
		{"a listed host is allowed on any port", "http://example.com:1234/x", true},
		{"case and a closing dot do not matter", "HTTPS://EXAMPLE.com./", true},
		{"a host below a listed one is not allowed", "http://a.example.com", false},
		{"a host that ends like a listed one is not allowed", "http://badexample.com", false},
		{"a host that begins like a listed one is not allowed", "http://example.com.evil.org", false},
		{"a user name that looks like a host is refused", "http://example.com@evil.org", false},
		{"a user name for a listed host is refused", "http://me:secret@example.com", false},
		{"a star allows the hosts below", "http://a.b.wild.org", true},
		{"a star does not allow the host itself", "http://wild.org", false},
		{"a star does not allow a host that ends alike", "http://xwild.org", false},
		{"a port allows only itself", "https://ported.net:8443", true},
		{"a port does not allow the usual one", "https://ported.net", false},
		{"an address is allowed", "http://10.1.2.3/", true},
		{"another address is not", "http://10.1.2.4/", false},
		{"an IPv6 address with its port is allowed", "http://[::1]:9000/", true},
		{"an IPv6 address with another port is not", "http://[::1]/", false},
		{"an address of a listed prefix is allowed", "http://192.168.7.7/", true},
		{"an address mapped into IPv6 is the same", "http://[::ffff:192.168.7.7]/", true},
		{"an address written as one number is a name that is not listed", "http://3232235777/", false},
		{"files are refused", "file:///etc/passwd", false},
		{"ftp is refused", "ftp://example.com/", false},
		{"an address without a host is refused", "http:///x", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, err := url.Parse(c.url)
			if err != nil {
				t.Fatal(err)
			}
			if err := list.check(u); (err == nil) != c.ok {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestAllowListChecksWhatIsDialled(t *testing.T) {
	list, err := newAllowList([]string{"example.com", "10.1.2.3", "[fd00::1]:9000", "192.168.0.0/16", "localhost:8080"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, address string
		ok            bool
	}{
		{"a public address is fine", "93.184.216.34:80", true},
		{"a public IPv6 address is fine", "[2606:2800:220:1::1]:443", true},
		{"a private address is refused", "10.0.0.1:80", false},
		{"a private address on the list is fine", "10.1.2.3:80", true},
		{"a private address of a listed prefix is fine", "192.168.3.4:80", true},
		{"a private IPv6 address on the list is fine on its port", "[fd00::1]:9000", true},
		{"a private IPv6 address on the list is refused elsewhere", "[fd00::1]:80", false},
		{"loopback is fine on the port of localhost", "127.0.0.1:8080", true},
		{"loopback is refused on another port", "127.0.0.1:4222", false},
		{"the address of cloud metadata is refused", "169.254.169.254:80", false},
		{"a link-local IPv6 address is refused", "[fe80::1%eth0]:80", false},
		{"a metadata address mapped into IPv6 is refused", "[::ffff:169.254.169.254]:80", false},
		{"a metadata address translated into IPv6 is refused", "[64:ff9b::a9fe:a9fe]:80", false},
		{"an address tunnelled in IPv6 is refused", "[2002:7f00:1::]:80", false},
		{"the address of this host is refused", "0.0.0.0:80", false},
		{"the IPv6 address of this host is refused", "[::]:80", false},
		{"an address behind a carrier is refused", "100.64.0.1:80", false},
		{"multicast is refused", "224.0.0.1:80", false},
		{"broadcast is refused", "255.255.255.255:80", false},
		{"what is no address is refused", "example.com:80", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := list.dial(c.address); (err == nil) != c.ok {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestTheClientChecksWhatItDials(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("was asked") }))
	defer s.Close()
	f, err := newFetcher([]string{"example.com"})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := f.client.Get(s.URL)
	var refused *Failure
	if !errors.As(err, &refused) {
		t.Fatal(resp, err)
	}
}
