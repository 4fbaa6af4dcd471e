// Package identity verifies who published an input. An [Identity] is a person or
// an app with the public nkeys of its keys, as the deployment's rules file lists
// them; a [Book] has all of them. [Sign] adds a signature to an input, and
// [Book.Verify] names the identity that signed one.
//
// Verifying is pure: the same book, conversation and bytes give the same answer
// everywhere. Nothing panics on input.
package identity

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/nats-io/nkeys"

	"github.com/parleybus/parley/internal/events"
)

// A signature is the last field of an input's line, in exactly this form. What
// is before it, with a brace in its place, is the signed line: nothing has to be
// brought into a canonical form, in any language.
const (
	beforeKey = `,"signature":{"key":"`
	beforeSig = `","sig":"`
	afterSig  = `"}}`
	keyBytes  = 56 // of a public nkey
	sigBytes  = 86 // of 64 bytes as base64 without padding
	allBytes  = len(beforeKey) + keyBytes + len(beforeSig) + sigBytes + len(afterSig)
)

// payload returns the bytes that a signature covers. A client of NATS signs
// whatever text its server sends as a nonce, with the same key. That text is valid
// UTF-8, in which the byte 0xFF never occurs: no server can obtain the signature
// of an input that way.
func payload(conversation string, line []byte) []byte {
	return append([]byte("\xffparley input 1\n"+conversation+"\n"), line...)
}

// encoding is strict: a signature has one spelling.
func encoding() *base64.Encoding { return base64.RawURLEncoding.Strict() }

// Key signs inputs.
type Key struct{ pair nkeys.KeyPair }

// ParseKey returns the key in the contents of a seed file or a creds file.
func ParseKey(contents []byte) (*Key, error) {
	pair, err := nkeys.ParseDecoratedUserNKey(contents)
	if err != nil {
		return nil, errors.New("it holds no seed of a user: a line that begins with SU")
	}
	if _, err := pair.PublicKey(); err != nil { // the seed is checked only now
		return nil, errors.New("its seed is damaged")
	}
	return &Key{pair}, nil
}

// ReadKey returns the key of a seed file or a creds file.
func ReadKey(path string) (*Key, error) {
	contents, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	defer clear(contents)
	key, err := ParseKey(contents)
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", path, err)
	}
	return key, nil
}

// Public is the public key, as the rules file lists it.
func (k *Key) Public() string {
	public, err := k.pair.PublicKey()
	if err != nil {
		return "" // a Key of ParseKey always has one
	}
	return public
}

// Sign returns the line of an input with its signature. The line must be a JSON
// object with at least one field and without a signature.
func (k *Key) Sign(conversation string, line []byte) ([]byte, error) {
	if n := len(line); n < 3 || line[n-1] != '}' {
		return nil, errors.New("only a JSON object can be signed")
	}
	sig, err := k.pair.Sign(payload(conversation, line))
	if err != nil {
		return nil, fmt.Errorf("sign an input: %w", err)
	}
	signed := append([]byte(nil), line[:len(line)-1]...)
	return append(signed, beforeKey+k.Public()+beforeSig+encoding().EncodeToString(sig)+afterSig...), nil
}

// split returns the signed line and its signature; found is false when the line
// does not end with one in exactly the form that [Key.Sign] writes.
func split(line []byte) (signed []byte, s events.Signature, found bool) {
	at := len(line) - allBytes
	if at < 2 {
		return nil, s, false
	}
	rest, ok := strings.CutPrefix(string(line[at:]), beforeKey)
	if !ok {
		return nil, s, false
	}
	s.Key, rest = rest[:keyBytes], rest[keyBytes:]
	rest, ok = strings.CutPrefix(rest, beforeSig)
	if !ok || !strings.HasSuffix(rest, afterSig) {
		return nil, s, false
	}
	s.Sig = rest[:sigBytes]
	return append(line[:at:at], '}'), s, true
}

// check reports why a signature is not valid.
func check(conversation string, line []byte, s events.Signature) error {
	public, err := nkeys.FromPublicKey(s.Key)
	if err != nil || !nkeys.IsValidPublicUserKey(s.Key) {
		return errors.New("its key is not the public nkey of a user")
	}
	sig, err := encoding().DecodeString(s.Sig)
	if err != nil {
		return errors.New("it is not base64url without padding")
	}
	if public.Verify(payload(conversation, line), sig) != nil {
		return errors.New("it is not the signature of this input in this conversation")
	}
	return nil
}

// NewKey makes a key. seed is its secret, as a seed file holds it.
func NewKey() (key *Key, seed []byte, err error) {
	pair, err := nkeys.CreateUser()
	if err == nil {
		seed, err = pair.Seed()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	return &Key{pair}, append(seed, '\n'), nil
}
