package parley

import (
	"fmt"
	"slices"
	"testing"
)

func TestToolsAreListedBesideTheirQueues(t *testing.T) {
	t.Parallel()
	spec := func(name string) *ToolSpec { return &ToolSpec{Name: name} }
	offers := []Offer{
		{Kind: "llm", Name: "openai", Worker: "l"},
		{Kind: "tool", Name: "a", Worker: "v", Tool: spec("a")}, {Kind: "tool", Name: "a", Worker: "w", Tool: spec("a")},
		{Kind: "tool", Name: "new", Worker: "w", Tool: spec("new")},
	}
	queues := []Queue{
		{Kind: "tool", Name: "a", Lag: 3, Running: 2}, {Kind: "tool", Name: "gone"}, {Kind: "tool", Name: "lost", Lag: 7}, {Kind: "llm", Name: "openai"},
	}
	var got []string
	for _, tool := range toolsOf(offers, nil, queues, true) {
		got = append(got, fmt.Sprintf("%s %s %d %s", tool.Name, tool.Effect, *tool.Lag, tool.Workers))
	}
	if want := []string{"a once 3 [v w]", "lost  7 []", "new once 0 [w]"}; !slices.Equal(got, want) {
		t.Errorf("the tools are %q, want %q", got, want)
	}
	got = nil
	for _, q := range queueStates(queues, offers) {
		got = append(got, fmt.Sprintf("%s %s %d", q.Kind, q.Name, q.Lag))
	}
	if want := []string{"llm openai 0", "tool a 3", "tool lost 7", "tool new 0"}; !slices.Equal(got, want) {
		t.Errorf("the queues are %q, want %q", got, want)
	}
}
