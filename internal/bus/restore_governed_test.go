package bus_test

import (
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// TestAnOrchestratorRepairsALogWithItsOwnPermissions: a checkpoint past the end of the log
// is what is left of a log that has lost its end. The input in it, which HISTORY does not
// have, is published again.
func TestAnOrchestratorRepairsALogWithItsOwnPermissions(t *testing.T) {
	t.Parallel()
	g := newGoverned(t)
	app, orchestrator, admin := g.as("app"), g.as("orchestrator"), g.as("admin")
	ctx := within(t, 20*time.Second)
	conversation, input := id(), id()
	shard := topology.ShardOf(conversation, 2)
	if _, err := app.Conversation(conversation).Publish(ctx, input, &events.UserMessage{ID: input, Text: "hello"}); err != nil {
		t.Fatal(err)
	}
	// HISTORY copies it at once, so that what a log holds and HISTORY does not is made
	// by taking the copy away.
	copied(t, admin, 1)
	_, js := admin.Raw()
	history, err := js.Stream(ctx, topology.StreamHistory)
	if err == nil {
		err = history.Purge(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := orchestrator.Shard(shard).SetCheckpoint(ctx, 20); err != nil {
		t.Fatal(err)
	}
	after, err := orchestrator.Shard(shard).Restore(ctx)
	if err != nil || after != 0 {
		t.Fatalf("begins after %d, %v", after, err)
	}
	end, _, err := orchestrator.Shard(shard).End(ctx)
	if err != nil || end != 21 {
		t.Errorf("the log ends at %d, want 21: %v", end, err)
	}
	if m, ok, err := orchestrator.Shard(shard).At(ctx, 21); err != nil || !ok || m.ID != conversation+"/"+input {
		t.Errorf("%+v, %t, %v", m, ok, err)
	}
}
