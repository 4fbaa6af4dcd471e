// Package sealed encrypts the answer to a tool's question for the worker that
// asks it. The log holds the sealed bytes; the key is only in that worker's memory
// and is gone with it.
//
// The format is the sealed box of libsodium (crypto_box_seal: X25519, XSalsa20,
// Poly1305), in standard base64, so that clients in any language can write it.
package sealed

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"

	"golang.org/x/crypto/nacl/box"
)

// MostBytes bounds an answer before it is sealed.
const MostBytes = 64 << 10

// padding is the multiple of bytes to which an answer is extended with spaces, so
// that its length does not give a secret's length away.
const padding = 256

var errNotSealed = errors.New("it is not the base64 of a sealed box (crypto_box_seal) for the question's key")

// Key is a worker's key for one question.
type Key struct{ public, private *[32]byte }

// NewKey returns a new key.
func NewKey() (*Key, error) {
	public, private, err := box.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key for a secret answer: %w", err)
	}
	return &Key{public, private}, nil
}

// Public returns the part that the question announces.
func (k *Key) Public() string { return base64.StdEncoding.EncodeToString(k.public[:]) }

// Open returns the JSON that was sealed for the key.
func (k *Key) Open(text string) ([]byte, error) {
	raw, err := decode(text)
	if err != nil {
		return nil, err
	}
	answer, ok := box.OpenAnonymous(nil, raw, k.public, k.private)
	if !ok {
		return nil, errNotSealed
	}
	return answer, nil
}

// Seal seals JSON for the key that a question announces.
func Seal(public string, answer []byte) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(public)
	if err != nil || len(raw) != 32 {
		return "", errors.New("the question's key is not the base64 of 32 bytes")
	}
	if len(answer) > MostBytes {
		return "", fmt.Errorf("the answer has %d bytes, at most %d can be sealed", len(answer), MostBytes)
	}
	// Spaces after JSON mean nothing.
	padded := append(bytes.Clone(answer), bytes.Repeat([]byte(" "), (padding-len(answer)%padding)%padding)...)
	box, err := box.SealAnonymous(nil, padded, (*[32]byte)(raw), rand.Reader)
	if err != nil {
		return "", fmt.Errorf("seal an answer: %w", err)
	}
	return base64.StdEncoding.EncodeToString(box), nil
}

// Check reports why a text cannot be a sealed answer. Only the worker can open it.
func Check(text string) error {
	_, err := decode(text)
	return err
}

func decode(text string) ([]byte, error) {
	const most = MostBytes + padding + box.AnonymousOverhead
	if len(text) > base64.StdEncoding.EncodedLen(most) {
		return nil, fmt.Errorf("a sealed answer has at most %d bytes", most)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) <= box.AnonymousOverhead {
		return nil, errNotSealed
	}
	return raw, nil
}
