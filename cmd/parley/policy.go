package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/terminal"
)

func (a *app) policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy CONVERSATION",
		Short: "Show which calls of a conversation run by themselves, and its limits",
		Long: `Show which calls of a conversation run by themselves: its rules, its limits and the
standing approvals that people gave. Where a conversation says nothing, the
deployment's rules apply, which its orchestrators read from --rules.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeConversation,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.policy(cmd, args[0]) },
	}
	a.outputFlag(cmd)
	return cmd
}

// shownPolicy is what "policy -o json" prints.
type shownPolicy struct {
	Conversation string         `json:"conversation"`
	Policy       *parley.Policy `json:"policy"` // null: the deployment's
	Limits       parley.Limits  `json:"limits"`
	Grants       []parley.Grant `json:"grants"`
	WhileRunning parley.Arrival `json:"while_running,omitempty"`
	WhileWaiting parley.Arrival `json:"while_waiting,omitempty"`
	Hooks        []parley.Hook  `json:"hooks,omitempty"`
}

func (a *app) policy(cmd *cobra.Command, id string) (err error) {
	asJSON, err := a.json()
	if err != nil {
		return err
	}
	s, err := a.client(cmd.Context())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	v, err := s.Conversation(id).View(cmd.Context())
	if err != nil {
		return err
	}
	set := &v.Settings
	shown := shownPolicy{Conversation: id, Policy: set.Policy, Limits: set.Limits, Grants: append([]parley.Grant{}, v.State.Grants...),
		WhileRunning: set.WhileRunning, WhileWaiting: set.WhileWaiting, Hooks: set.Hooks}
	if asJSON {
		return printJSON(shown)
	}
	return shown.text(a)
}

// text writes it for people, a table for each part.
func (s *shownPolicy) text(a *app) error {
	p := profile()
	var rows [][]string
	if s.Policy != nil {
		for i, r := range s.Policy.Rules {
			rows = append(rows, []string{"rule " + strconv.Itoa(i+1), string(r.Action), ruleMatch(r), ruleRest(r)})
		}
		rows = append(rows, []string{"otherwise", "", "pure tools run, a person is asked about others", ""})
	} else {
		rows = append(rows, []string{"rules", "", "those of the deployment", ""})
	}
	for _, g := range s.Grants {
		rows = append(rows, []string{"approved", "auto", g.Tool, strings.TrimSpace("by " + author(g.Signer, g.From) + "; " + a.commandLine("revoke", s.Conversation, g.ID))})
	}
	for _, l := range limitsOf(s.Limits) {
		rows = append(rows, []string{"limit", "", l, ""})
	}
	if s.WhileRunning != "" || s.WhileWaiting != "" {
		rows = append(rows, []string{"messages", "", fmt.Sprintf("%s while a turn runs, %s while it waits", cmp.Or(s.WhileRunning, parley.ArrivalQueue), cmp.Or(s.WhileWaiting, parley.ArrivalQueue)), ""})
	}
	for _, h := range s.Hooks {
		rows = append(rows, []string{"hook", string(h.When), h.Name, ""})
	}
	return outputError(terminal.Table(stdout(), p, nil, rows))
}

// ruleMatch describes which calls a rule matches.
func ruleMatch(r parley.Rule) string {
	parts := []string{cmp.Or(r.Tool, "every tool")}
	if r.Effect != "" {
		parts = append(parts, "of effect "+string(r.Effect))
	}
	if r.When != "" {
		parts = append(parts, "when "+r.When)
	}
	return strings.Join(parts, " ")
}

// ruleRest describes the other fields of a rule.
func ruleRest(r parley.Rule) string {
	var parts []string
	if r.DelayMS > 0 {
		parts = append(parts, "after "+milliseconds(r.DelayMS))
	}
	if r.AtMS > 0 {
		parts = append(parts, "at "+time.UnixMilli(r.AtMS).UTC().Format(time.RFC3339))
	}
	if r.DeadlineMS > 0 {
		parts = append(parts, "expires after "+milliseconds(r.DeadlineMS))
	}
	if !r.Anybody() {
		parts = append(parts, (&parley.Awaited{Needs: &r.Need}).Progress())
	}
	if r.Reason != "" {
		parts = append(parts, r.Reason)
	}
	return strings.Join(parts, "; ")
}

func limitsOf(l parley.Limits) []string {
	var all []string
	add := func(set bool, format string, v ...any) {
		if set {
			all = append(all, fmt.Sprintf(format, v...))
		}
	}
	add(l.Steps > 0, "%d steps a turn", l.Steps)
	add(l.Tokens > 0, "%d tokens a turn", l.Tokens)
	add(l.CostUSD > 0, "$%g a turn", l.CostUSD)
	add(l.TimeMS > 0, "%s a turn", milliseconds(l.TimeMS))
	add(l.Repeats > 0, "%d rounds with the same call and result", l.Repeats)
	for _, tool := range slices.Sorted(maps.Keys(l.Calls)) {
		all = append(all, fmt.Sprintf("%d calls of %s a turn", l.Calls[tool], tool))
	}
	add(l.OnLimit == parley.LimitAsk, "at a limit a person is asked")
	return all
}

func milliseconds(ms int64) string { return (time.Duration(ms) * time.Millisecond).String() }
