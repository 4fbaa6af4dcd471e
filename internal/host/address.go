package host

import (
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// addressFile is the file in a data directory with the address of the server that
// runs on it.
const addressFile = "server.json"

type address struct {
	URL string `json:"url"`
	PID int    `json:"pid"`
}

func writeAddress(dir, at string) error {
	raw, err := json.Marshal(address{URL: at, PID: os.Getpid()})
	if err != nil {
		return err
	}
	// Others read the file while it changes: it is replaced as a whole.
	name := filepath.Join(dir, addressFile)
	if err := os.WriteFile(name+".new", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

func removeAddress(dir string) error {
	if err := os.Remove(filepath.Join(dir, addressFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// addressIn returns the URL in the address file; empty without one.
func addressIn(dir string) string {
	raw, err := os.ReadFile(filepath.Join(dir, addressFile))
	var a address
	if err != nil || json.Unmarshal(raw, &a) != nil {
		return ""
	}
	return a.URL
}

// Running returns the URL of the server that runs on a data directory; empty when
// none does, also after one crashed and left its file.
func Running(dir string) string {
	at := addressIn(dir)
	u, err := url.Parse(at)
	if err != nil || u.Host == "" {
		return ""
	}
	conn, err := net.DialTimeout("tcp", u.Host, time.Second)
	if err != nil {
		return ""
	}
	_ = conn.Close() // it was only a probe
	return at
}
