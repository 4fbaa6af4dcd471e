package events

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Digest is the digest of a call's arguments that a Verdict names: SHA-256 of
// [DigestText], hex.
func Digest(arguments string) string {
	sum := sha256.Sum256([]byte(DigestText(arguments)))
	return hex.EncodeToString(sum[:])
}

// DigestText returns arguments without the white space between their tokens, all else as
// it was written; nothing and null count as {}.
func DigestText(arguments string) string {
	raw := Arguments(arguments)
	var compact bytes.Buffer
	if json.Compact(&compact, raw) == nil {
		raw = compact.Bytes()
	}
	return string(raw)
}
