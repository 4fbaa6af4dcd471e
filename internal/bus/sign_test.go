package bus_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/identity"
	"github.com/parleybus/parley/internal/topology"
)

// keyFile is a new key in a file.
func keyFile(t *testing.T) (key *identity.Key, path string) {
	t.Helper()
	key, seed, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "user.nk")
	if err := os.WriteFile(path, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	return key, path
}

// TestInputsAreSignedWithTheKeyOfTheConnection: live, in the log and in HISTORY the
// line is the one that was signed, also that of an input in the object store.
func TestInputsAreSignedWithTheKeyOfTheConnection(t *testing.T) {
	key, path := keyFile(t)
	other, otherPath := keyFile(t)
	book, _, err := identity.New([]identity.Identity{{Name: "anna", Keys: []string{key.Public()}}, {Name: "ben", Keys: []string{other.Public()}}}, identity.Inputs{})
	if err != nil {
		t.Fatal(err)
	}
	open := start(t).URL()
	join(t, open) // makes the streams
	guarded := foreign(t, &server.Options{JetStream: true, Nkeys: []*server.NkeyUser{{Nkey: key.Public()}}})
	setup, err := bus.Connect(t.Context(), bus.Config{URL: guarded, NKey: path}, &topology.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	defer setup.Close()
	for name, c := range map[string]struct {
		cfg  bus.Config
		text string
		want string
	}{
		"a seed that NATS uses":        {bus.Config{URL: guarded, NKey: path}, "hello", "anna"},
		"creds":                        {bus.Config{URL: open, Creds: creds(t, path)}, "hello", "anna"},
		"a key of its own":             {bus.Config{URL: guarded, NKey: path, SignKey: otherPath}, "hello", "ben"},
		"no key":                       {bus.Config{URL: open}, "hello", ""},
		"an input in the object store": {bus.Config{URL: open, SignKey: path}, strings.Repeat("long ", 1<<19), "anna"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, conversation := within(t, time.Minute), id()
			b, err := bus.Connect(ctx, c.cfg, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			input := id()
			if _, err := b.Conversation(conversation).Publish(ctx, input, &events.UserMessage{ID: input, Text: c.text}); err != nil {
				t.Fatal(err)
			}
			signer := func(m bus.Message) string {
				if m.Bad != nil || len(m.Lines) != 1 {
					t.Fatalf("%d lines, %v", len(m.Lines), m.Bad)
				}
				signer, err := book.Verify(conversation, m.Lines[0].Raw, m.Lines[0].Event)
				if err != nil {
					t.Error(err)
				}
				return signer
			}
			for m, err := range b.Conversation(conversation).Attach(ctx, bus.From{Ended: true}) {
				if err != nil {
					t.Fatal(err)
				}
				if got := signer(m); got != c.want {
					t.Errorf("the log's is signed by %q, want %q", got, c.want)
				}
				if claimed := len(m.Data) < len(c.text); claimed != (len(c.text) > 1<<20) {
					t.Errorf("in the object store: %v", claimed)
				}
			}
			found := 0
			eventually(t, func() bool {
				found = 0
				err := b.Conversation(conversation).Facts(ctx, 0, func(m bus.Message) error {
					found++
					if got := signer(m); got != c.want {
						t.Errorf("the fact is signed by %q, want %q", got, c.want)
					}
					return nil
				})
				return err == nil && found == 1
			}, "the input is no fact")
		})
	}
}

// creds is a creds file as a server of JWTs gives it, with the seed of a file.
func creds(t *testing.T, seed string) string {
	t.Helper()
	raw, err := os.ReadFile(seed)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "user.creds")
	text := "-----BEGIN NATS USER JWT-----\neyJ0eXAiOiJKV1QifQ.e30.x\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n" + string(raw) + "------END USER NKEY SEED------\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAKeyThatCannotSignIsAnError(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.nk")
	if err := os.WriteFile(bad, []byte("SUnonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{bad, filepath.Join(t.TempDir(), "none")} {
		_, err := bus.Connect(within(t, time.Minute), bus.Config{URL: "nats://127.0.0.1:1", SignKey: path}, nil)
		if err == nil || !strings.Contains(err.Error(), "PARLEY_SIGN_KEY") || !strings.Contains(err.Error(), path) {
			t.Errorf("%v", err)
		}
	}
}

// TestASignedInputIsPublishedAsItIs: an app may pass on what another client signed.
func TestASignedInputIsPublishedAsItIs(t *testing.T) {
	_, path := keyFile(t)
	url := start(t).URL()
	join(t, url)
	ctx, conversation, input := within(t, time.Minute), id(), id()
	b, err := bus.Connect(ctx, bus.Config{URL: url, SignKey: path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	theirs := &events.Signature{Key: "U", Sig: "s"}
	if _, err := b.Conversation(conversation).Publish(ctx, input, &events.Cancel{ID: input, Signature: theirs}); err != nil {
		t.Fatal(err)
	}
	last, err := b.Lane(topology.At(b.Shards(), conversation, events.ChannelIn)).Last(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, s := events.SignatureOf(last.Lines[0].Event); s == nil || *s != *theirs {
		t.Errorf("it is stored as %s", last.Data)
	}
}
