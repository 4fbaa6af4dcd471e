package doctor

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

// orchestrator checks that every shard has an owner.
func (x *Examination) orchestrator(ctx context.Context) (says, fixed string, err error) {
	owners, err := x.Bus.Deployment().Owners(ctx)
	if err != nil {
		return "", "", err
	}
	var names, free []string
	for shard := range x.Bus.Shards() {
		owner, owned := owners[shard]
		switch {
		case !owned:
			free = append(free, fmt.Sprint(shard))
		case !slices.Contains(names, owner):
			names = append(names, owner)
		}
	}
	if len(free) > 0 {
		return "", "", fmt.Errorf("no orchestrator owns shard %s: start one with `orchestrator` or `parley up --only orchestrator`", strings.Join(free, ", "))
	}
	return fmt.Sprintf("%s owns every shard", strings.Join(names, ", ")), "", nil
}

// workers checks that an llm-worker serves models.
func (x *Examination) workers(ctx context.Context) (says, fixed string, err error) {
	offers, err := x.Bus.Presence().Offers(ctx)
	if err != nil {
		return "", "", err
	}
	kinds := map[string]int{}
	for _, o := range offers {
		kinds[o.Kind]++
	}
	if kinds["llm"] == 0 && !x.Alone {
		return "", "", errors.New("no llm-worker is connected: start one with `llm-worker` or `parley up --only llm-worker`")
	}
	return fmt.Sprintf("%d routes and %d tools are offered now", kinds["llm"], kinds["tool"]), "", nil
}

// queues checks that no job waits for a missing worker.
func (x *Examination) queues(ctx context.Context) (says, fixed string, err error) {
	queues, err := x.Bus.Jobs().Queues(ctx)
	if err != nil {
		return "", "", err
	}
	offers, err := x.Bus.Presence().Offers(ctx)
	if err != nil {
		return "", "", err
	}
	served := func(q bus.QueueInfo) bool {
		return slices.ContainsFunc(offers, func(o bus.Offer) bool { return o.Kind == q.Kind && o.Name == q.Name })
	}
	var bad []string
	for _, q := range queues {
		switch {
		case q.Lag == 0:
		case !served(q):
			bad = append(bad, fmt.Sprintf("%d jobs of %s %q wait and no worker serves it: start one", q.Lag, q.Kind, q.Name))
		case q.Waiting == 0 && q.Running == 0:
			bad = append(bad, fmt.Sprintf("%d jobs of %s %q wait and its workers take none: see their logs", q.Lag, q.Kind, q.Name))
		}
	}
	if len(bad) > 0 {
		return "", "", errors.New(strings.Join(bad, "; "))
	}
	return fmt.Sprintf("%d queues, none waits for a worker", len(queues)), "", nil
}

// tools checks that no announcement is rejected, that schemas can be used, and that the
// tools named by rules and conversations are served.
func (x *Examination) tools(ctx context.Context) (says, fixed string, err error) {
	offers, conflicts, err := x.Bus.Presence().OffersAndConflicts(ctx)
	if err != nil {
		return "", "", err
	}
	var bad, names []string
	schemas := tool.Validator{Ceilings: &x.Rules.Ceilings}
	for _, o := range offers {
		if o.Kind != "tool" || o.Tool == nil {
			continue
		}
		names = append(names, o.Name)
		if err := schemas.Check(*o.Tool); err != nil { // as an orchestrator does
			bad = append(bad, fmt.Sprintf("tool %s of worker %s is not offered to models: %v: correct its schema, or raise the ceiling", o.Name, o.Worker, err))
		}
	}
	for _, c := range conflicts {
		bad = append(bad, c.Error())
	}
	missing := func(pattern string) bool {
		return pattern != "" && pattern != "-" && !slices.ContainsFunc(names, func(name string) bool {
			ok, err := path.Match(pattern, name)
			return ok || err != nil
		})
	}
	if x.Rules.Policy != nil {
		for _, r := range x.Rules.Policy.Rules {
			if r.Action != events.ActionDeny && missing(r.Tool) {
				bad = append(bad, fmt.Sprintf("the rules name tool %q, which no worker serves: start one, or correct the name", r.Tool))
			}
		}
	}
	wanted, err := x.Bus.Deployment().ToolsWanted(ctx)
	if err != nil && !bus.Denied(err) {
		return "", "", err
	}
	for tool, conversation := range wanted {
		if missing(tool) {
			bad = append(bad, fmt.Sprintf("conversation %s is offered tool %q, which no worker serves: start one, or correct the name", conversation, tool))
		}
	}
	if len(bad) > 0 {
		slices.Sort(bad)
		return "", "", errors.New(strings.Join(slices.Compact(bad), "; "))
	}
	return fmt.Sprintf("%d tools, none in conflict or missing", len(slices.Compact(names))), "", nil
}

// timers counts the waiting conversations.
func (x *Examination) timers(ctx context.Context) (says, fixed string, err error) {
	waiting, err := x.Bus.Timers().List(ctx)
	if err != nil {
		return "", "", err
	}
	return fmt.Sprintf("%d conversations wait for somebody", len(waiting)), "", nil
}

// stuck finds conversations without progress.
func (x *Examination) stuck(ctx context.Context) (says, fixed string, err error) {
	stuck, err := x.Bus.Deployment().Stuck(ctx, x.Tolerance.Overdue, longestTurn)
	if err != nil {
		return "", "", err
	}
	if len(stuck) == 0 {
		return "no conversation is stuck", "", nil
	}
	first := stuck[0]
	return "", "", fmt.Errorf("%d conversations are stuck, first %s: %s: see the orchestrator's log, restart it, or end the turn with `parley cancel %s`", len(stuck), first.Conversation, first.Why, first.Conversation)
}
