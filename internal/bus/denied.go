package bus

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// denials are the publishes that the server has refused. The zero value is ready.
//
// NATS reports a permission violation asynchronously; the publish itself only gets
// no answer, and would be retried forever.
type denials struct {
	mu      sync.Mutex
	errs    map[string]error                      // by subject
	waiting map[string][]*context.CancelCauseFunc // for an answer, by subject
}

// note records a permission violation, ends the wait for answers and returns the
// subject; empty when it is not about a publish.
func (d *denials) note(err error) string {
	_, rest, ok := strings.Cut(err.Error(), `Publish to "`)
	if !ok {
		return ""
	}
	subject, _, _ := strings.Cut(rest, `"`)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.errs == nil {
		d.errs = map[string]error{}
	}
	d.errs[subject] = err
	for _, cancel := range d.waiting[subject] {
		(*cancel)(err)
	}
	return subject
}

// take returns why a publish to a subject got no answer, if it was denied, and
// forgets it.
func (d *denials) take(subject string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.errs[subject]
	delete(d.errs, subject)
	return err
}

// has reports whether a publish to a subject was denied.
func (d *denials) has(subject string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.errs[subject] != nil
}

// wait bounds a request to a subject: the context ends when the server denies it.
func (d *denials) wait(ctx context.Context, subject string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting == nil {
		d.waiting = map[string][]*context.CancelCauseFunc{}
	}
	d.waiting[subject] = append(d.waiting[subject], &cancel)
	return ctx, func() {
		cancel(nil)
		d.mu.Lock()
		defer d.mu.Unlock()
		left := slices.DeleteFunc(d.waiting[subject], func(c *context.CancelCauseFunc) bool { return c == &cancel })
		if d.waiting[subject] = left; len(left) == 0 {
			delete(d.waiting, subject)
		}
	}
}

// api returns a denial of a request to JetStream, if there was one.
func (d *denials) api(prefix string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for subject, err := range d.errs {
		if strings.HasPrefix(subject, prefix) {
			return err
		}
	}
	return nil
}

// denial returns why a publish to a subject got no answer, if it was denied.
func (b *Bus) denial(subject string) error { return b.denied.take(subject) }

// request sends a request and waits for the answer. It fails at once, with the reason,
// when the server denies it.
func (b *Bus) request(ctx context.Context, subject string, body []byte) (*nats.Msg, error) {
	ctx, done := b.denied.wait(ctx, subject)
	defer done()
	msg, err := b.nc.RequestWithContext(ctx, subject, body)
	if err != nil {
		return nil, cmp.Or(b.denial(subject), err)
	}
	return msg, nil
}

// publish publishes a message once and waits for its acknowledgement. It fails at
// once, with the reason, when the server denies it.
func (b *Bus) publish(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ctx, done := b.denied.wait(ctx, m.Subject)
	defer done()
	ack, err := b.js.PublishMsg(ctx, m, append(opts, jetstream.WithRetryAttempts(0))...)
	if err != nil {
		return nil, cmp.Or(b.denial(m.Subject), err)
	}
	return ack, nil
}

// explainDenied replaces the timeout of a request to JetStream that was denied.
func (b *Bus) explainDenied(err error) error {
	denied := b.denied.api(b.api(""))
	if denied == nil {
		return err
	}
	if b.imported() {
		return fmt.Errorf("the role of this user does not permit that: `parley permissions --role ROLE` prints what a role may do: %w", denied)
	}
	return fmt.Errorf("this user may not use JetStream here: give it the permissions of a role, see `parley permissions`, and set NATS_JS_API_PREFIX=%s if it has an account of its own: %w", strings.TrimSuffix(topology.RoleAPI, "."), denied)
}
