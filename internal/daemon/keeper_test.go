package daemon_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/topology"
)

// TestAProcessIsReadyWhileNothingIsMissing: /readyz of a process that may not make
// streams is 503 and names the one that is gone, until somebody has made it again.
func TestAProcessIsReadyWhileNothingIsMissing(t *testing.T) {
	_, as := governed(t)
	d, worker := as(topology.Admin), as(topology.ToolWorker)
	q, err := topology.ToolQueue("clock")
	if err == nil {
		err = worker.EnsureQueue(t.Context(), q)
	}
	if err != nil {
		t.Fatal(err)
	}
	h := daemon.NewHealth()
	h.Ready(func() error { return nil })
	worker.run(daemon.Keeper(h))
	says := func(status int, word string) func() bool {
		return func() bool {
			w := httptest.NewRecorder()
			h.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
			return w.Code == status && strings.Contains(w.Body.String(), word)
		}
	}
	within(t, "it is not ready", says(http.StatusOK, ""))
	_, js := d.Raw()
	for _, name := range []string{topology.StreamJobs, topology.ConvStream(0), "KV_" + topology.BucketPresence} {
		if err := js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		within(t, "it does not say that "+name+" is gone", says(http.StatusServiceUnavailable, name))
	}
	d.run(daemon.Keeper(nil)) // may set up
	within(t, "it is not ready again", says(http.StatusOK, ""))
}
