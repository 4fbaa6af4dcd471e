package daemon_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/toolworker"
	"github.com/parleybus/parley/internal/events"
)

func TestTheMetricsOfAServiceCountItsJobs(t *testing.T) {
	d := serve(t)
	health := daemon.NewHealth()
	role, err := toolworker.Service().Role(t.Context(), daemon.Config{Name: "tools"}, d.log, health, func() {})
	if err != nil {
		t.Fatal(err)
	}
	d.run(role)
	if r := d.call(events.ToolSpec{Name: "now", Effect: events.EffectPure}, `{}`); r.Status != events.StatusOK {
		t.Fatalf("%s: %s", r.Status, r.Content)
	}
	const want = `parley_jobs_handler_execution_time_seconds_count{handler_name="tool_now",success="true"} 1`
	within(t, "the job is not counted", func() bool {
		w := httptest.NewRecorder()
		health.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		page := w.Body.String()
		return strings.Contains(page, want) && strings.Contains(page, "parley_calls_total 1")
	})
}
