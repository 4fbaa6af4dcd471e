package mcp_test

import (
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/mcp"
	"github.com/parleybus/parley/internal/tool"
)

func contains(text string, all ...string) bool {
	for _, one := range all {
		if !strings.Contains(text, one) {
			return false
		}
	}
	return true
}

func TestAFirstStartThatWorksIsNotKilled(t *testing.T) {
	s := self(t, "downloads")
	s.Startup = 300 * time.Millisecond
	r := run(t, s)
	if got, err := r.call(t.Context(), "good", tool.Input{}); err != nil || got.Content != "ok" {
		t.Errorf("got %+v, %v", got, err)
	}
	if log := r.log.String(); strings.Contains(log, "did not answer") {
		t.Errorf("the start was given up:\n%s", log)
	}
}

func TestToolsThatCannotBeUsedAreReported(t *testing.T) {
	s := self(t, "names")
	states := make(chan mcp.State, 100)
	s.Report = func(s mcp.State) { states <- s }
	r := run(t, s)
	r.has("good")
	select {
	case s := <-states:
		if s.Err != nil || len(s.Omitted) != 2 || s.Omitted[0].Tool != "files.read" || s.Omitted[0].Server != "peer" || s.Omitted[0].Reason == "" {
			t.Errorf("reported %+v", s)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nothing is reported")
	}
}
