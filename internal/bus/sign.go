package bus

import (
	"cmp"
	"fmt"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/identity"
)

// signKey reads the key that inputs are signed with: SignKey, or else the key of
// the connection; nil when there is none.
func (cfg Config) signKey() (*identity.Key, error) {
	if cfg.SignKey != "" {
		key, err := identity.ReadKey(cfg.SignKey)
		if err != nil {
			return nil, fmt.Errorf("PARLEY_SIGN_KEY: %w", err)
		}
		return key, nil
	}
	path := cmp.Or(cfg.NKey, cfg.Creds)
	if path == "" {
		return nil, nil
	}
	key, err := identity.ReadKey(path)
	if err != nil {
		return nil, nil // connecting fails for the same reason, and is retried
	}
	return key, nil
}

// SignsAs is the public key with which this connection signs inputs; empty when it
// has none.
func (b *Bus) SignsAs() string {
	if b.key == nil {
		return ""
	}
	return b.key.Public()
}

// inputFrame encodes an input, signed if there is a key for it. One that has a
// signature keeps it.
func (b *Bus) inputFrame(conversation string, e events.Event) ([]byte, error) {
	frame, err := events.AppendFrame(nil, e)
	if err != nil || b.key == nil {
		return frame, err
	}
	if _, signed := events.SignatureOf(e); signed != nil {
		return frame, nil
	}
	return b.key.Sign(conversation, frame)
}
