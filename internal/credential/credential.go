// Package credential keeps the keys of NATS users in files.
package credential

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/parleybus/parley/internal/identity"
	"github.com/parleybus/parley/internal/topology"
)

// Dir is a directory with the seed of each user, NAME.nk, and the environment of a
// process that connects as that user, NAME.env. Only the owner can read them. The
// name of the directory may hold [User], so that each user has its own.
type Dir string

// User stands for the name of a user in the name of a [Dir].
const User = "{user}"

// of returns the directory of a user's files.
func (d Dir) of(user string) string { return strings.ReplaceAll(string(d), User, user) }

// Key returns the public key of a user. It makes the seed when there is none.
func (d Dir) Key(user string) (public string, err error) {
	if err := topology.CheckToken("user", user); err != nil {
		return "", err
	}
	key, err := readOrCreate(d.seed(user), identity.ReadKey, create)
	if err != nil {
		return "", fmt.Errorf("key of user %s: %w", user, err)
	}
	return key.Public(), nil
}

// readOrCreate reads a file, and creates it when there is none.
func readOrCreate[T any](path string, read, create func(path string) (T, error)) (T, error) {
	v, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			v, err = create(path)
		}
		if errors.Is(err, fs.ErrExist) { // another process made one meanwhile, and it is in use
			v, err = read(path)
		}
	}
	return v, err
}

// create makes a key and writes its seed to a file, as write does.
func create(path string) (*identity.Key, error) {
	key, seed, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	if err := write(path, seed); err != nil {
		return nil, fmt.Errorf("write the seed: %w", err)
	}
	return key, nil
}

// write writes a secret to a file, so that another process never reads a part of it. A
// file that exists is left as it is, and the error is [fs.ErrExist].
func write(path string, secret []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".seed-*") // for the owner only
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // it has its name by then
	_, err = f.Write(secret)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Link(f.Name(), path)
	}
	return err
}

// ClusterPassword returns the password with which the servers of a cluster connect to
// each other. It makes one, in the file cluster.password, when there is none.
func (d Dir) ClusterPassword() (string, error) {
	path := filepath.Join(d.of("cluster"), "cluster.password")
	text, err := readOrCreate(path, os.ReadFile, func(path string) ([]byte, error) {
		made := []byte(rand.Text())
		return made, write(path, made)
	})
	if err != nil {
		return "", fmt.Errorf("password of the cluster: %w", err)
	}
	password := strings.TrimSpace(string(text))
	if len(password) < minPassword {
		return "", fmt.Errorf("password of the cluster: %s has less than %d characters: remove the file, and make the configurations of all servers again", path, minPassword)
	}
	return password, nil
}

// minPassword is the shortest password of a cluster, in bytes.
const minPassword = 16

func (d Dir) seed(user string) string { return filepath.Join(d.of(user), user+".nk") }

// WriteEnvironment writes the variables with which a process connects as a user.
// at is the directory of the seed as that process sees it; ca is the file of the
// certificate authority, empty without TLS.
func (d Dir) WriteEnvironment(u topology.User, url, at, ca string) error {
	var text strings.Builder
	for _, v := range Environment(u, url, filepath.Join(Dir(at).of(u.Name), u.Name+".nk"), ca) {
		text.WriteString(v + "\n")
	}
	if err := os.WriteFile(filepath.Join(d.of(u.Name), u.Name+".env"), []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("environment of user %s: %w", u.Name, err)
	}
	return nil
}

// Environment returns the variables, as NAME=value, with which a process connects
// as a user.
func Environment(u topology.User, url, seed, ca string) []string {
	env := []string{"NATS_URL=" + url, "NATS_NKEY=" + seed, "NATS_INBOX_PREFIX=" + u.Inbox()}
	if !u.HasStreams() {
		env = append(env, "NATS_JS_API_PREFIX="+strings.TrimSuffix(topology.RoleAPI, "."))
	}
	if ca != "" {
		env = append(env, "NATS_CA="+ca)
	}
	return env
}
