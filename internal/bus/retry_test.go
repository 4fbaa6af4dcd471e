package bus

import (
	"context"
	"testing"
	"time"
)

func TestBackoffDoublesUpToItsBound(t *testing.T) {
	t.Parallel()
	for _, jitter := range []bool{false, true} {
		b := backoff{next: 20 * time.Millisecond, most: 100 * time.Millisecond, jitter: jitter}
		for i, want := range []time.Duration{20, 40, 80, 100, 100} {
			want *= time.Millisecond
			least := want
			if jitter {
				least /= 2
			}
			if got := b.delay(); got < least || got > want {
				t.Errorf("jitter %t: delay %d is %s, not between %s and %s", jitter, i, got, least, want)
			}
		}
	}
}

func TestBackoffEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := backoff{next: time.Hour, most: time.Hour}
	if b.wait(ctx) {
		t.Error("there is a next try although the context has ended")
	}
}
