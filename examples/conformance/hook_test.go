package conformance_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/hook"
)

// answerHook answers a hook with the Go package: docs/checklists/hook.md.
func answerHook(ctx context.Context) error {
	when := hook.Time(os.Getenv("PARLEY_HOOK_WHEN"))
	return hook.Serve(ctx, parley.Config{}, when, os.Getenv("PARLEY_HOOK"), func(ctx context.Context, c *hook.Call) (*hook.Answer, error) {
		var text strings.Builder
		for _, p := range c.Message.Parts {
			text.WriteString(p.Text)
		}
		said := text.String()
		var ms int64
		if n, err := fmt.Sscanf(said, "pause %d", &ms); n == 1 && err == nil {
			select {
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			case <-time.After(time.Duration(ms) * time.Millisecond):
			}
		}
		if strings.HasPrefix(said, "refuse") {
			return &hook.Answer{Refuse: "the message asks for it"}, nil
		}
		return &hook.Answer{Context: "The message is: " + said[:min(len(said), 1000)]}, nil
	})
}
