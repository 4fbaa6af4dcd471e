package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/llm/dialect"
	"github.com/parleybus/parley/internal/offer"
	"github.com/parleybus/parley/internal/terminal"
	"github.com/parleybus/parley/internal/visible"
)

// callerHelp is the part of the help about permissions of commands that run calls.
const callerHelp = `It runs calls past every policy. Where the server's users have the permissions of
a role, this one needs those of "caller", not "app".`

func (a *app) toolsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tools [NAME]",
		Short: "List the tools that workers serve, or show one with its schema",
		Long: `List the tools that workers serve now, with the state of their queues: LAG counts
calls that nobody has taken, RUNNING those that somebody has. A queue with calls
and no worker is listed too: nobody serves it. With NAME, all that is known of
one tool. Where nothing runs, it is what this process would serve. A conflict is an
announcement that was rejected: its worker gets no calls.

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
	cmd.AddCommand(a.toolsCallCommand(), a.toolsForgetCommand())
	return cmd
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
	offers, err := offersOf(ctx, s.Client, name)
	if err != nil {
		return err
	}
	all, err := s.Tools(ctx)
	if err != nil {
		fmt.Fprintf(stderr(), "the queues are not shown: %v\n", err)
	}
	if name == "" {
		for _, line := range slices.Concat(missingTools(offers), unfitTools(offers)) {
			fmt.Fprintln(stderr(), line)
		}
		return printTools(all, asJSON)
	}
	i := slices.IndexFunc(all, func(t parley.Tool) bool { return t.Name == name })
	switch {
	case i < 0:
		return parley.NoSuchTool(name, s.Server(), offers)
	case asJSON:
		return printJSON(all[i])
	}
	known, err := s.KnownTool(ctx, name)
	if err != nil {
		return err
	}
	return printTool(all[i], known)
}

// offersOf lists what is offered. It waits a moment for a tool that is named, because
// a list that is read while a worker repeats its announcement can lack it.
func offersOf(ctx context.Context, c *parley.Client, name string) ([]parley.Offer, error) {
	offers, _, err := c.AwaitOffers(ctx, func(offers []parley.Offer) bool { return name == "" || parley.SpecOf(offers, name) != nil })
	return offers, err
}

func printTools(all []parley.Tool, asJSON bool) error {
	if asJSON {
		if all == nil {
			all = []parley.Tool{}
		}
		return printJSON(all)
	}
	if len(all) == 0 {
		fmt.Fprintln(stderr(), "nobody serves a tool: start a worker with `tool-worker` or `parley up --only tool-worker`")
		return nil
	}
	var rows [][]string
	for _, t := range all {
		about := t.Description
		if len(t.Workers) == 0 {
			about = "nobody serves it"
		}
		rows = append(rows, []string{t.Name, cmp.Or(string(t.Effect), "-"), timeoutOf(t), fmt.Sprint(len(t.Workers)), number(t.Lag), number(t.Running), about})
	}
	for _, t := range all {
		for _, c := range t.Conflicts {
			fmt.Fprintf(stderr(), "conflict: %v\n", c)
		}
	}
	return outputError(terminal.Table(stdout(), profile(), []string{"TOOL", "EFFECT", "TIMEOUT", "WORKERS", "LAG", "RUNNING", "DESCRIPTION"}, rows))
}

func timeoutOf(t parley.Tool) string {
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

// printTool shows a tool whole. known is nil when it is not known.
func printTool(t parley.Tool, known *parley.ToolSpec) error {
	queue := fmt.Sprintf("%s wait, %s run", number(t.Lag), number(t.Running))
	if t.Retried != nil && *t.Retried > 0 {
		queue += fmt.Sprintf(", %d of them again", *t.Retried)
	}
	rows := [][]string{
		{"tool", t.Name},
		{"workers", cmp.Or(strings.Join(t.Workers, ", "), "none: nobody serves it")},
		{"queue", queue},
	}
	if known != nil {
		rows = append(rows, []string{"known as", string(known.Effect)})
	}
	for _, c := range t.Conflicts {
		rows = append(rows, []string{"conflict", c.Error()})
	}
	if len(t.Workers) > 0 {
		timeout := timeoutOf(t)
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
	if err := terminal.Table(stdout(), profile(), nil, rows); err != nil {
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

// printText writes a tool's text, with its control sequences escaped.
func printText(text string) error {
	if p := profile(); p.Width > 0 {
		said := parley.Message{Role: parley.RoleAssistant, Parts: []parley.Part{{Kind: parley.PartText, Text: text}}}
		return outputError(terminal.Transcript(stdout(), p, terminal.FormatText, "", []terminal.TranscriptEntry{{Message: said}}))
	}
	text = visible.String(text)
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	_, err := io.WriteString(stdout(), text)
	return outputError(err)
}

// unfitTools says which tools are left out of requests to the models that are
// served, because their provider does not take them, and that a model searches for
// tools when there are many.
func unfitTools(offers []parley.Offer) []string {
	var all []string
	var specs []parley.ToolSpec
	for _, t := range parley.ToolsIn(offers) {
		specs = append(specs, t.ToolSpec)
	}
	for _, o := range offers {
		rules, is := dialect.Of(o.Name)
		if o.Kind != offer.LLM || !is {
			continue
		}
		for _, t := range rules.Unfit(specs) {
			line := fmt.Sprintf("tool %s is left out of requests to %s: %s", t.Tool, o.Name, t.Reason)
			if t.Server != "" {
				line = fmt.Sprintf("MCP server %s: %s", t.Server, line)
			}
			if line = visible.String(line); !slices.Contains(all, line) {
				all = append(all, line)
			}
		}
	}
	if n := len(specs); n > offer.MaxOffered {
		all = append(all, fmt.Sprintf("%d tools are more than the %d of one request: a model finds the others with %s", n, offer.MaxOffered, offer.FindTools))
	}
	return all
}

// missingTools says which MCP servers' tools are missing, and why.
func missingTools(offers []parley.Offer) []string {
	var all []string
	for _, o := range offers {
		for _, s := range o.Servers {
			for _, line := range s.Lines() {
				if line = visible.String(line); !slices.Contains(all, line) { // several workers may read one file
					all = append(all, line)
				}
			}
		}
	}
	return all
}
