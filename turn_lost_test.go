package parley_test

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/embedded"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
	"github.com/parleybus/parley/model"
)

// TestATurnWhoseAnswerIsInALostEndIsFound: the log was replaced by an older copy, and
// HISTORY has the message and its answer.
func TestATurnWhoseAnswerIsInALostEndIsFound(t *testing.T) {
	t.Parallel()
	o := embedded.Options{Dir: t.TempDir(), NoBuiltins: true, Port: -1, Models: []model.Served{{Provider: model.Func("test", echo), Model: "test-1"}}}
	log := filepath.Join(o.Dir, "jetstream", "$G", "streams", topology.ConvStream(0))
	backup := filepath.Join(t.TempDir(), "conv")
	run := func(do func(p *embedded.Parley)) { t.Helper(); running(t, o, do) }
	ask := func(v *parley.Conversation, text string, options ...parley.SendOption) parley.Result {
		t.Helper()
		return sendAndWait(t, v, text, options...)
	}
	run(func(p *embedded.Parley) {
		ask(p.Conversation(parley.NewID()), "before")
		var err error
		if o.Port, err = strconv.Atoi(address(t, p).Port()); err != nil {
			t.Fatal(err)
		}
	})
	if err := os.CopyFS(backup, os.DirFS(log)); err != nil {
		t.Fatal(err)
	}
	id, input := parley.NewID(), parley.NewID()
	var sent *parley.Turn
	var app *parley.Client
	var token atomic.Value
	run(func(p *embedded.Parley) {
		// The server has another token at each start.
		token.Store(address(t, p).User.Username())
		var err error
		if app, err = parley.Connect(t.Context(), parley.Config{URL: "nats://" + address(t, p).Host, Options: []nats.Option{
			nats.TokenHandler(func() string { return token.Load().(string) }), nats.ReconnectWait(5 * time.Millisecond)}}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(app.Close)
		if sent, err = app.Conversation(id).Send(t.Context(), "lost", parley.WithInputID(input)); err != nil {
			t.Fatal(err)
		}
		ask(p.Conversation(id), "lost", parley.WithInputID(input))
		allCopied(t, p)
	})
	if err := errors.Join(os.RemoveAll(log), os.CopyFS(log, os.DirFS(backup))); err != nil {
		t.Fatal(err)
	}
	run(func(p *embedded.Parley) {
		token.Store(address(t, p).User.Username())
		const want = "You said: lost"
		if r, err := sent.Wait(t.Context()); err != nil || r.Text != want || r.Outcome != parley.OutcomeCompleted {
			t.Errorf("the turn of before: %+v, %v", r, err)
		}
		var refused *parley.AnswerError
		if err := sent.Cancel(t.Context()); !errors.As(err, &refused) || refused.Answer.Answer != parley.AnswerAlreadyEnded {
			t.Errorf("cancelling it: %v", err)
		}
		if r := ask(p.Conversation(id), "lost", parley.WithInputID(input)); r.Text != want {
			t.Errorf("the message again: %q", r.Text)
		}
		if r := ask(p.Conversation(id), "next"); r.Text != "You said: next" {
			t.Errorf("the next message: %q", r.Text)
		}
	})
}

// address is where the server of a deployment is, with its token.
func address(t *testing.T, p *embedded.Parley) *url.URL {
	t.Helper()
	at, err := url.Parse(p.Server())
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// running runs a deployment while do runs.
func running(t *testing.T, o embedded.Options, do func(p *embedded.Parley)) {
	t.Helper()
	p, err := embedded.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	do(p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// allCopied blocks until HISTORY has all facts.
func allCopied(t *testing.T, p *embedded.Parley) {
	t.Helper()
	b, err := bus.Connect(t.Context(), bus.Config{URL: p.Server()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for copied := false; !copied; {
		behind, err := b.Deployment().HistoryBehind(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		copied = behind[0].Copied >= behind[0].Fact
	}
}
