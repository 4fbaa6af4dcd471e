package broker_test

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServerServesOverTCPAndInProcess(t *testing.T) {
	b, err := broker.Start(broker.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Stop() })
	for name, connect := range map[string]func() (*nats.Conn, error){
		"over TCP":   func() (*nats.Conn, error) { return nats.Connect(b.URL()) },
		"in process": func() (*nats.Conn, error) { return nats.Connect("", b.InProcess()) },
	} {
		t.Run(name, func(t *testing.T) {
			nc, err := connect()
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestSecondServerOnADirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	b, err := broker.Start(broker.Config{Dir: dir, Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := broker.Start(broker.Config{Dir: dir, Port: -1}); !errors.Is(err, broker.ErrInUse) {
		t.Fatalf("second server on the directory: %v, want ErrInUse", err)
	}
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	b, err = broker.Start(broker.Config{Dir: dir, Port: -1})
	if err != nil {
		t.Fatalf("the directory is not free after Stop: %v", err)
	}
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
}

func TestTakenPortIsReportedInOneLine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, err = broker.Start(broker.Config{Dir: t.TempDir(), Port: l.Addr().(*net.TCPAddr).Port})
	if err == nil || !strings.Contains(err.Error(), "--port 0") || strings.Contains(err.Error(), "\n") {
		t.Fatalf("error %q does not say what to do in one line", err)
	}
}
