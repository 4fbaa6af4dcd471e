package events

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Digest is the digest of a call's arguments that a Verdict names: SHA-256 of
// the JSON without insignificant white space, hex; nothing and null count as {}.
func Digest(arguments string) string {
	raw := Arguments(arguments)
	var compact bytes.Buffer
	if json.Compact(&compact, raw) == nil {
		raw = compact.Bytes()
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}
