package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/conformance"
	speaker "github.com/parleybus/parley/internal/conformance/app"
	"github.com/parleybus/parley/internal/conformance/hook"
	"github.com/parleybus/parley/internal/conformance/llmworker"
	"github.com/parleybus/parley/internal/conformance/toolworker"
	"github.com/parleybus/parley/internal/conformance/viewer"
	"github.com/parleybus/parley/internal/daemon"
)

// kit is the flags of conformance.
type kit struct {
	list, json bool
	only       []int
	options    conformance.Options
}

// roleKit is a role that programs can be checked as.
type roleKit struct {
	role, short string
	long        string
	flags       func(*cobra.Command)
	// rules returns the rules for a program; one without a command asks for their texts.
	rules func(context.Context, conformance.Program) ([]conformance.Rule, error)
}

func (a *app) conformanceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "conformance",
		Short: "Check a program of your own against the rules of a role on the bus",
		Long: `Check a program in any language against the rules of a role on the bus. Each rule
starts a NATS server of its own in this process, runs COMMAND as the deployment's
worker, viewer, app or hook, plays the rest of the deployment, and prints a line:
ok, or FAIL with what happened and what was expected. Rules run beside each other.

COMMAND connects as the variables NATS_URL, NATS_NKEY, NATS_INBOX_PREFIX and
NATS_JS_API_PREFIX say, or on a server without accounts NATS_TOKEN, or NATS_USER and
NATS_PASSWORD. docs/checklists has the rules and what a program must understand to be
checked, such as how it is told to pause.

Exit codes: 0 all rules hold, 1 a rule fails, 2 wrong usage.`,
		Example: `  parley conformance tool-worker -- node worker.mjs
  parley conformance tool-worker --rule 8 --rule 10 -- ./worker
  parley conformance tool-worker --list`,
	}
	for _, r := range roleKits() {
		cmd.AddCommand(a.roleCommand(r))
	}
	return cmd
}

func (a *app) roleCommand(r roleKit) *cobra.Command {
	k := kit{}
	cmd := &cobra.Command{
		Use:   r.role + " -- COMMAND...",
		Short: r.short,
		Long:  r.short + ".\n\n" + r.long,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 && !k.list {
				return usagef("name the program to check: parley conformance %s -- COMMAND...", r.role)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			a.ran = true
			ctx, stop := daemon.Signals(cmd.Context())
			defer stop()
			return k.run(ctx, r, conformance.Program{Command: args})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&k.list, "list", false, "list the rules and check nothing")
	f.BoolVar(&k.json, "json", false, "print one JSON object for each rule")
	f.IntSliceVar(&k.only, "rule", nil, "check the rules with this number only; may be repeated")
	f.DurationVar(&k.options.Timeout, "timeout", conformance.DefaultTimeout, "how long each rule may take")
	f.IntVar(&k.options.AtOnce, "at-once", 8, "how many rules run beside each other")
	if r.flags != nil {
		r.flags(cmd)
	}
	return cmd
}

func (k *kit) run(ctx context.Context, r roleKit, p conformance.Program) error {
	if k.options.Timeout <= 0 || k.options.AtOnce < 1 {
		return usagef("--timeout and --at-once must be above 0")
	}
	if k.list {
		p = conformance.Program{}
	}
	rules, err := r.rules(ctx, p)
	if err != nil {
		return err
	}
	for _, n := range k.only {
		if !slices.ContainsFunc(rules, func(r conformance.Rule) bool { return r.Number == n }) {
			return usagef("there is no rule %d: parley conformance %s --list has all of them", n, r.role)
		}
	}
	if len(k.only) > 0 {
		rules = slices.DeleteFunc(rules, func(r conformance.Rule) bool { return !slices.Contains(k.only, r.Number) })
	}
	if k.list {
		return k.printList(rules)
	}
	began := time.Now()
	var printed error
	failed := conformance.Run(ctx, p, rules, k.options, func(r conformance.Result) {
		if err := k.print(&r); printed == nil {
			printed = err
		}
	})
	switch {
	case printed != nil:
		return outputError(printed)
	case ctx.Err() != nil:
		return fmt.Errorf("stopped before all rules were checked")
	case failed > 0:
		return fmt.Errorf("%d of %d rules fail", failed, len(rules))
	case k.json:
		return nil
	}
	_, err = fmt.Fprintf(stdout(), "all %d rules hold, in %v\n", len(rules), time.Since(began).Round(time.Second))
	return outputError(err)
}

func (k *kit) print(r *conformance.Result) error {
	if k.json {
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(jsonOutput(), "%s\n", line)
		return err
	}
	text := r.String() + "\n"
	for line := range strings.Lines(r.Output) {
		text += "       | " + strings.TrimRight(line, "\n") + "\n"
	}
	_, err := fmt.Fprint(stdout(), text)
	return err
}

func (k *kit) printList(rules []conformance.Rule) error {
	for _, r := range rules {
		var err error
		if k.json {
			err = k.printRule(r)
		} else {
			_, err = fmt.Fprintf(stdout(), "%-2d %s\n", r.Number, r.Says)
		}
		if err != nil {
			return outputError(err)
		}
	}
	return nil
}

func (k *kit) printRule(r conformance.Rule) error {
	line, err := json.Marshal(map[string]any{"number": r.Number, "rule": r.Says})
	if err == nil {
		_, err = fmt.Fprintf(jsonOutput(), "%s\n", line)
	}
	return err
}

// roleKits returns the roles that programs can be checked as.
func roleKits() []roleKit {
	return []roleKit{toolWorkerKit(), llmWorkerKit(), viewerKit(), appKit(), hookKit()}
}

func toolWorkerKit() roleKit {
	var t toolworker.Tool
	return roleKit{
		role: "tool-worker", short: "Check a program that runs calls of a tool",
		long: `The program announces a pure tool whose calls take pause_ms: it prints output,
waits that long, and answers. docs/tool-workers.md has the rules at its end.`,
		flags: func(cmd *cobra.Command) {
			f := cmd.Flags()
			f.StringVar(&t.Name, "tool", "", "name of the tool; default: the one that the program announces")
			f.StringVar(&t.Arguments, "arguments", "", "arguments of a call, a JSON object; default: made from the tool's schema")
			f.StringVar(&t.Failing, "failing", "", "arguments with which the tool fails; default: some that do not fit its schema")
			f.StringVar(&t.Answer, "answer", "", "text that the result of a call has")
		},
		rules: func(ctx context.Context, p conformance.Program) ([]conformance.Rule, error) {
			var err error
			if len(p.Command) > 0 {
				t, err = toolworker.Discover(ctx, p, t)
			}
			return toolworker.Rules(t), err
		},
	}
}

func viewerKit() roleKit {
	return roleKit{
		role: "viewer", short: "Check a program that shows a conversation",
		long: `The program prints one JSON object per line for each event of the conversation in
PARLEY_CONVERSATION: {"cursor":"812-3@epoch","event":{…}}. It starts from the
beginning, or behind the cursor in PARLEY_FROM. docs/checklists/viewer.md has the rules.`,
		rules: func(context.Context, conformance.Program) ([]conformance.Rule, error) { return viewer.Rules(), nil },
	}
}

func llmWorkerKit() roleKit {
	var m llmworker.Model
	return roleKit{
		role: "llm-worker", short: "Check a program that runs generations of a model",
		long: `The program serves a route with a model that does what the job's parameters.extra
say: pause_ms, fail, cut and call. docs/checklists/llm-worker.md has the rules.`,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringVar(&m.Route, "route", "", "the route; default: the one that the program announces")
		},
		rules: func(ctx context.Context, p conformance.Program) ([]conformance.Rule, error) {
			var err error
			if len(p.Command) > 0 {
				m, err = llmworker.Discover(ctx, p, m)
			}
			return llmworker.Rules(m), err
		},
	}
}

func hookKit() roleKit {
	return roleKit{
		role: "hook", short: "Check a program that answers a hook before turns",
		long: `The program answers the hook that PARLEY_HOOK and PARLEY_HOOK_WHEN name, with a
context that has the message's text. docs/checklists/hook.md has the rules.`,
		rules: func(context.Context, conformance.Program) ([]conformance.Rule, error) { return hook.Rules(), nil },
	}
}

func appKit() roleKit {
	return roleKit{
		role: "app", short: "Check a program that speaks and decides for people",
		long: `The program takes commands on its standard input, one JSON object in each line, for
the conversation in PARLEY_CONVERSATION, and prints the answers. docs/checklists/app.md
has the commands and the rules.`,
		rules: func(context.Context, conformance.Program) ([]conformance.Rule, error) { return speaker.Rules(), nil },
	}
}
