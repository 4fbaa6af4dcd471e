package host_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/host"
)

// crashed runs a server on a data directory and leaves the directory as a crash does.
// It returns the server's address and what it says first.
func crashed(t *testing.T, dir string) (at, greeting string) {
	t.Helper()
	h, _ := process(t, dir, "crashes")
	s, err := h.Start(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "server.json")
	left, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(s.Server())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	greeting, err = bufio.NewReader(conn).ReadString('\n')
	if err := errors.Join(err, conn.Close(), s.Close(), os.WriteFile(file, left, 0o600)); err != nil {
		t.Fatal(err)
	}
	return u.Host, greeting
}

// impostor listens at an address and says a greeting. stop ends it and returns what it
// was sent, the first bytes of each connection.
func impostor(t *testing.T, at, greeting string) (stop func() []string) {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	var heard []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if greeting != "" {
				_, _ = io.WriteString(conn, greeting) // the other side may be gone
			}
			raw, _ := io.ReadAll(io.LimitReader(conn, 10)) // what came before the end counts
			heard = append(heard, string(raw))
			_ = conn.Close() // it has ended
		}
	}()
	return func() []string {
		_ = l.Close() // the only error is that it is closed
		<-done
		return heard
	}
}

// TestAServerThatIsNotOursGetsNothing: after a crash another program has the port, and
// may repeat all that the server said of itself to anybody who connected.
func TestAServerThatIsNotOursGetsNothing(t *testing.T) {
	for name, change := range map[string]func(greeting string) string{
		"the same greeting": func(greeting string) string { return greeting },
		"another server": func(greeting string) string {
			fields, _ := strings.CutPrefix(greeting, "INFO ")
			var info map[string]any
			if err := json.Unmarshal([]byte(fields), &info); err != nil {
				t.Fatal(err)
			}
			info["server_id"], info["auth_required"] = "NA", true
			raw, err := json.Marshal(info)
			if err != nil {
				t.Fatal(err)
			}
			return "INFO " + string(raw) + "\r\n"
		},
		"no NATS server": func(string) string { return "HTTP/1.1 400 Bad Request\r\n\r\n" },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			at, greeting := crashed(t, dir)
			stop := impostor(t, at, change(greeting))
			h, _ := process(t, dir, "a")
			if got := host.Running(dir); got != "" {
				t.Errorf("%s is taken for the server of the directory", got)
			}
			s, err := h.Join(t.Context())
			if s != nil {
				t.Error("joined it")
				closed(t, s, err)
			}
			if sent := strings.Join(stop(), ""); sent != "" {
				t.Errorf("it was sent %q", sent)
			}
			// The directory is used as if nothing were at that address.
			own, err := h.JoinOrServe(t.Context())
			if !closed(t, own, err).RunsRoles() {
				t.Error("no server of its own")
			}
		})
	}
}

// TestTheIDIsCompared: also while a process that only reads the directory, such as
// `parley ls`, has locked it.
func TestTheIDIsCompared(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "server.json")
	at, greeting := crashed(t, dir)
	left, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	reader, _ := process(t, dir, "ls")
	s, err := reader.Embed(t.Context(), -1)
	closed(t, s, err)
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file of the server that crashed is still there: %v", err)
	}
	if err := os.WriteFile(file, left, 0o600); err != nil {
		t.Fatal(err)
	}
	stop := impostor(t, at, strings.Replace(greeting, `"server_id":"N`, `"server_id":"M`, 1))
	if got := host.Running(dir); got != "" {
		t.Errorf("%s is taken for the server of the directory", got)
	}
	if sent := stop(); len(sent) != 1 || sent[0] != "" {
		t.Errorf("it was sent %q", sent)
	}
}

// TestAnotherNATSServerIsNotJoined: a whole server at the address, with a token of its
// own or none.
func TestAnotherNATSServerIsNotJoined(t *testing.T) {
	dir := t.TempDir()
	at, _ := crashed(t, dir)
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	other, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: n, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	other.Start()
	t.Cleanup(func() { other.Shutdown(); other.WaitForShutdown() })
	h, _ := process(t, dir, "a")
	if s, err := h.Join(t.Context()); s != nil || err != nil || host.Running(dir) != "" {
		t.Errorf("joined another server: %v", err)
	}
}

// TestOneNeedsTheToken: it is new at each start, and in the file that only the user
// may read.
func TestOneNeedsTheToken(t *testing.T) {
	dir := t.TempDir()
	seen := map[string]bool{}
	for range 2 {
		h, _ := process(t, dir, "a")
		s, err := h.Start(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		nc, err := nats.Connect(s.Server())
		if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("without the token: %v", err)
		}
		if nc != nil {
			nc.Close()
		}
		at, err := h.URL()
		if err != nil || seen[at] {
			t.Errorf("the URL is %s, as before, %v", at, err)
		}
		seen[at] = true
		if nc, err = nats.Connect(at); err != nil {
			t.Errorf("with the URL alone: %v", err)
		} else {
			nc.Close()
		}
		info, err := os.Stat(filepath.Join(dir, "server.json"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file's mode is %v, %v", info.Mode(), err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestADirectoryThatEveryUserMayWriteIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	h, _ := process(t, dir, "a")
	if _, err := h.Start(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "chmod o-w") {
		t.Errorf("%v", err)
	}
}

// TestCredentialsForAnotherServerStayHere: what the environment holds for another
// server is not sent to the one of the data directory.
func TestCredentialsForAnotherServerStayHere(t *testing.T) {
	dir := t.TempDir()
	h, _ := process(t, dir, "a")
	first, err := h.JoinOrServe(t.Context())
	closed(t, first, err)
	h, _ = process(t, dir, "b")
	h.Config.NATS.Token, h.Config.NATS.User, h.Config.NATS.Password = "elsewhere", "ann", "elsewhere"
	second, err := h.JoinOrServe(t.Context())
	if closed(t, second, err).Embedded() {
		t.Error("the second should join")
	}
	roles, err := h.JoinForRoles(t.Context())
	closed(t, roles, err)
}
