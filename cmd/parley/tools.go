package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/terminal"
)

// callerHelp says, in the help of those who run calls, what they may be allowed.
const callerHelp = `It runs calls past every policy. Where the server's users have the permissions of
a role, this one needs those of "caller", not "app".`

func (a *app) toolsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tools [NAME]",
		Short: "List the tools that workers serve, or show one with its schema",
		Long: `List the tools that workers serve now, with how their queues stand: LAG counts
calls that nobody has taken, RUNNING those that somebody has. A queue with calls
and no worker is listed too: nobody serves it. With NAME, all that is known of
one tool. Where nothing runs, it is what this process would serve.

Tool names are for models: letters, digits, _ and -. ` + "`parley tools call`" + ` runs one.`,
		Example: `  parley tools
  parley tools get_weather
  parley tools call get_weather '{"city":"Oslo"}'
  parley tools -o json | jq -r '.[] | select(.lag > 0) | .name'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeTool,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.tools(cmd.Context(), strings.Join(args, ""))
		},
	}
	a.outputFlag(cmd)
	a.cfg.Calling(cmd.Flags())
	cmd.AddCommand(a.toolsCallCommand())
	return cmd
}

// served is a tool and how it stands, as programs read it. Lag, Running and
// Retried are absent where this user may not see the queues.
type served struct {
	events.ToolSpec
	Workers []string `json:"workers"`
	Lag     *uint64  `json:"lag,omitempty"`
	Running *int     `json:"running,omitempty"`
	Retried *int     `json:"retried,omitempty"`
}

func (a *app) tools(ctx context.Context, name string) (err error) {
	asJSON, err := a.json()
	if err != nil {
		return err
	}
	s, err := a.everything(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	offers, err := s.offersOf(ctx, name)
	if err != nil {
		return err
	}
	queues, err := s.Queues(ctx)
	if err != nil {
		fmt.Fprintf(os.Stderr, "how the queues stand is not shown: %v\n", unanswered(err))
	}
	all := servedTools(offers, queues, err == nil)
	if name == "" {
		return printTools(all, asJSON)
	}
	i := slices.IndexFunc(all, func(t served) bool { return t.Name == name })
	switch {
	case i < 0:
		return s.nobodyServes(name, offers)
	case asJSON:
		return printJSON(all[i])
	}
	return printTool(all[i])
}

// offersOf lists what is offered. A tool that is asked for by name is waited for
// a moment, as its worker can fall out of a list that is read while it says
// again that it is there.
func (s *session) offersOf(ctx context.Context, name string) ([]bus.Offer, error) {
	offers, _, err := s.offersWith(ctx, func(offers []bus.Offer) bool { return name == "" || specOf(offers, name) != nil })
	return offers, err
}

// specOf is what a tool says about itself; nil when nobody serves it.
func specOf(offers []bus.Offer, name string) *events.ToolSpec {
	for _, o := range offers {
		if o.Kind == "tool" && o.Name == name && o.Tool != nil {
			return o.Tool
		}
	}
	return nil
}

// nobodyServes says that a call of a tool would wait for a worker that is not
// there.
func (s *session) nobodyServes(name string, offers []bus.Offer) error {
	var names []string
	for _, t := range servedTools(offers, nil, false) {
		names = append(names, t.Name)
	}
	return &exitError{exitNobody, fmt.Errorf("nobody serves a tool %q on %s; served are: %s", name, s.where(), cmp.Or(strings.Join(names, ", "), "none"))}
}

// servedTools puts what workers offer beside how the queues stand, by name.
func servedTools(offers []bus.Offer, queues []bus.QueueInfo, known bool) []served {
	var all []served
	at := func(name string) *served {
		i, found := slices.BinarySearchFunc(all, name, func(t served, name string) int { return strings.Compare(t.Name, name) })
		if !found {
			t := served{ToolSpec: events.ToolSpec{Name: name}, Workers: []string{}}
			if known {
				t.Lag, t.Running, t.Retried = new(uint64), new(int), new(int)
			}
			all = slices.Insert(all, i, t)
		}
		return &all[i]
	}
	for _, o := range offers {
		if o.Kind != "tool" || o.Tool == nil {
			continue
		}
		t := at(o.Name)
		if len(t.Workers) == 0 {
			t.ToolSpec = *o.Tool
			t.Name, t.Effect = o.Name, cmp.Or(o.Tool.Effect, events.EffectOnce)
		}
		t.Workers = append(t.Workers, o.Worker)
	}
	for _, q := range together(queues) {
		if q.Kind != "tool" || q.Lag == 0 && q.Running == 0 && specOf(offers, q.Name) == nil {
			continue // a queue stays when its tool is gone
		}
		t := at(q.Name)
		t.Lag, t.Running, t.Retried = &q.Lag, &q.Running, &q.Retried
	}
	return all
}

func printTools(all []served, asJSON bool) error {
	if asJSON {
		if all == nil {
			all = []served{}
		}
		return printJSON(all)
	}
	if len(all) == 0 {
		fmt.Fprintln(os.Stderr, "nobody serves a tool: start a worker with `tool-worker` or `parley up --only tool-worker`")
		return nil
	}
	var rows [][]string
	for _, t := range all {
		about := t.Description
		if len(t.Workers) == 0 {
			about = "nobody serves it"
		}
		rows = append(rows, []string{t.Name, cmp.Or(string(t.Effect), "-"), t.timeout(), fmt.Sprint(len(t.Workers)), number(t.Lag), number(t.Running), about})
	}
	return outputError(terminal.Table(os.Stdout, profile(), []string{"TOOL", "EFFECT", "TIMEOUT", "WORKERS", "LAG", "RUNNING", "DESCRIPTION"}, rows))
}

func (t *served) timeout() string {
	switch {
	case len(t.Workers) == 0:
		return "-"
	case t.TimeoutMS == 0:
		return "default"
	}
	return milliseconds(t.TimeoutMS)
}

func number[N uint64 | int](n *N) string {
	if n == nil {
		return "?"
	}
	return fmt.Sprint(*n)
}

// orDefault writes a limit for which 0 leaves the choice to the worker.
func orDefault[N int | int64](n N, unit string) string {
	if n == 0 {
		return "the worker's default"
	}
	return fmt.Sprintf("%d %s", n, unit)
}

// printTool shows a tool whole.
func printTool(t served) error {
	queue := fmt.Sprintf("%s wait, %s run", number(t.Lag), number(t.Running))
	if t.Retried != nil && *t.Retried > 0 {
		queue += fmt.Sprintf(", %d of them again", *t.Retried)
	}
	rows := [][]string{
		{"tool", t.Name},
		{"workers", cmp.Or(strings.Join(t.Workers, ", "), "none: nobody serves it")},
		{"queue", queue},
	}
	if len(t.Workers) > 0 {
		timeout := t.timeout()
		if t.TimeoutMS == 0 {
			timeout = "the worker's default"
		}
		rows = append(rows, [][]string{
			{"effect", string(t.Effect)},
			{"timeout", timeout},
			{"at once", orDefault(t.Concurrency, "in each worker")},
			{"result", orDefault(t.ResultBytes, "bytes at most")},
		}...)
	}
	if err := terminal.Table(os.Stdout, profile(), nil, rows); err != nil {
		return outputError(err)
	}
	text := ""
	if t.Description != "" {
		text += "\n" + t.Description + "\n"
	}
	for _, schema := range []struct {
		what string
		raw  json.RawMessage
	}{{"arguments", t.Schema}, {"structured result", t.Output}} {
		if len(schema.raw) > 0 {
			text += "\n" + schema.what + ":\n" + indented(schema.raw) + "\n"
		}
	}
	return printText(text)
}

// indented is JSON for people, or what is no JSON as it is.
func indented(raw json.RawMessage) string {
	var out bytes.Buffer
	if json.Indent(&out, raw, "", "  ") != nil {
		return string(raw)
	}
	return out.String()
}

// printText writes what a tool said: for programs as it is, in a terminal so
// that the terminal obeys nothing in it.
func printText(text string) error {
	p := profile()
	if p.Width > 0 {
		said := events.Message{Role: events.RoleAssistant, Parts: []events.Part{{Kind: events.PartText, Text: text}}}
		return outputError(terminal.Transcript(os.Stdout, p, terminal.FormatText, "", []terminal.TranscriptEntry{{Message: said}}))
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	_, err := os.Stdout.WriteString(text)
	return outputError(err)
}

// completeTool completes names of tools in the shell, with what they do.
func (a *app) completeTool(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	log, err := a.logger()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	s, err := a.join(ctx, log)
	if s == nil || err != nil {
		return nil, cobra.ShellCompDirectiveError // what could be served here takes too long to start
	}
	defer func() { _ = s.Close() }() // nothing can be said while completing
	offers, err := s.Offers(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []string
	for _, t := range servedTools(offers, nil, false) {
		about, _, _ := strings.Cut(t.Description, "\n")
		out = append(out, t.Name+"\t"+about)
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
