package bus_test

import (
	"context"
	"errors"
	"testing"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

// TestAJobThatIsReadWhileAWorkerStopsIsNotBad ends the context in which a large
// job is fetched: that is no fault of the job.
func TestAJobThatIsReadWhileAWorkerStopsIsNotBad(t *testing.T) {
	t.Parallel()
	b := inProcess(t)
	object, err := b.Objects().Put(t.Context(), id(), []byte(`{"type":"ToolJob","call":"c"}`))
	if err != nil {
		t.Fatal(err)
	}
	claim, err := events.AppendFrame(nil, &events.Claim{Of: "ToolJob", Object: *object})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := b.Jobs().Read(t.Context(), claim); err != nil || e.Type() != "ToolJob" {
		t.Errorf("%v, %v", e, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if e, err := b.Jobs().Read(ctx, claim); !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("%v, %v", e, err)
	}
	if e, err := b.Jobs().Read(t.Context(), []byte("{")); err == nil || errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("%v, %v", e, err)
	}
}
