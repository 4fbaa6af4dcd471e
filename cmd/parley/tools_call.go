package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/host"
	"github.com/parleybus/parley/internal/terminal"
	"github.com/parleybus/parley/internal/tool"
)

// toolCall is the flags of tools call.
type toolCall struct {
	app     *app
	timeout time.Duration
	full    bool
	quiet   bool
}

func (a *app) toolsCallCommand() *cobra.Command {
	c := &toolCall{app: a, timeout: time.Minute}
	cmd := &cobra.Command{
		Use:   "call NAME [ARGUMENTS]",
		Short: "Run a tool without a model",
		Long: `Run a tool without a model: its arguments are checked against its schema, a
worker runs it, what it prints on its way goes to standard error, its result to
standard output. "-" reads the arguments from standard input; without arguments
they are {}. Ctrl-C cancels the call. Where nothing runs, everything runs in this
process.

` + callerHelp + `

Exit codes: 0 ok, 1 any other end of the call, 2 wrong usage or arguments,
4 cancelled, 5 no server, or nobody serves the tool.`,
		Example: `  parley tools call calculate '{"expression":"17% of 2340"}'
  parley tools call get_weather - < arguments.json
  parley tools call report '{}' --full -o json | jq .content`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeTool,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.ran = true // root sets that for its own commands only
			raw := "{}"
			if len(args) > 1 {
				var err error
				if raw, err = givenText("arguments", args[1]); err != nil {
					return err
				}
			}
			return c.run(cmd.Context(), args[0], raw)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&c.timeout, "timeout", c.timeout, "how long the call may take, waiting for a worker included; then it is cancelled")
	f.BoolVar(&c.full, "full", false, "fetch a result that is kept by reference, and print it whole")
	f.BoolVarP(&c.quiet, "quiet", "q", false, "do not show what the tool prints on its way")
	a.outputFlag(cmd)
	a.cfg.Calling(f)
	return cmd
}

func (c *toolCall) run(ctx context.Context, name, raw string) (err error) {
	asJSON, err := c.app.json()
	if err != nil {
		return err
	}
	if c.timeout <= 0 {
		return usagef("--timeout %s must be above 0", c.timeout)
	}
	ctx, stop := daemon.Signals(ctx)
	defer stop()
	s, err := c.app.everything(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	offers, err := offersOf(ctx, s.Client, name)
	if err != nil {
		return err
	}
	spec := parley.SpecOf(offers, name)
	if spec == nil {
		return parley.NoSuchTool(name, s.Server(), offers)
	}
	if err := checkArguments(*spec, raw); err != nil {
		return err
	}
	result, err := c.call(ctx, s, *spec, raw)
	if err != nil {
		return err
	}
	if c.full && result.Object != nil {
		whole, err := s.Fetch(ctx, result.Object)
		if err != nil {
			return fmt.Errorf("fetch the whole result of %s: %w", name, err)
		}
		result.Content = string(whole)
	}
	if asJSON {
		err = printJSON(result)
	} else {
		err = c.print(result)
	}
	if err == nil && result.Status != parley.StatusOK {
		err = fmt.Errorf("the call of %s ended as %s", name, result.Status)
	}
	return err
}

// checkArguments refuses what the tool would refuse.
func checkArguments(spec parley.ToolSpec, raw string) error {
	var v tool.Validator
	err := v.Validate(spec, raw)
	switch {
	case errors.Is(err, tool.ErrSchema):
		return err
	case err != nil:
		return usagef("%s does not take these arguments: %w: `parley tools %s` shows what it takes", spec.Name, err, spec.Name)
	}
	return nil
}

// call runs the call, and shows what the tool prints on its way.
func (c *toolCall) call(ctx context.Context, s *host.Session, spec parley.ToolSpec, raw string) (*parley.ToolResult, error) {
	late := fmt.Errorf("the call of %s was cancelled: it had not ended after %s; --timeout gives it longer", spec.Name, c.timeout)
	timed, cancel := context.WithTimeoutCause(ctx, c.timeout, late)
	defer cancel()
	out := terminal.New(stderr(), errorProfile(), terminal.Options{})
	shown := 0
	show := func(text string) {
		if c.quiet {
			return
		}
		// An error is dropped: there is nowhere else to print it.
		_ = out.Show(terminal.Entry{Line: events.Line{Event: &parley.ToolOutput{Call: spec.Name, Index: shown, Text: text}}})
		shown++
	}
	result, err := s.CallTool(timed, parley.ToolCall{Spec: &spec, Arguments: json.RawMessage(raw), Output: show})
	_ = out.Close() // as above
	if ctx.Err() != nil && err != nil {
		return nil, &exitError{exitCancelled, fmt.Errorf("the call of %s was cancelled", spec.Name)}
	}
	return result, err
}

// print shows a result to people: the text, and below it what else there is.
func (c *toolCall) print(r *parley.ToolResult) error {
	text := r.Content
	if text == "" && len(r.Structured) > 0 {
		text = indented(r.Structured)
	}
	if err := printText(text); err != nil {
		return err
	}
	if r.Object != nil && !c.full {
		fmt.Fprintf(stderr(), "this is the beginning of %d bytes: --full prints them all\n", r.Object.Size)
	}
	for _, f := range r.Attachments {
		if f.Object != nil {
			fmt.Fprintf(stderr(), "attached: %q %q, %d bytes, object %q\n", f.Name, f.MIME, f.Object.Size, f.Object.Name)
		}
	}
	return nil
}
