package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/host"
	"github.com/parleybus/parley/internal/terminal"
)

// question is the flags of ask and chat, and their conversation.
type question struct {
	app           *app
	conversation  string
	fresh         bool // the conversation has no messages yet
	system        string
	tools         []string
	limits        parley.Limits
	parameters    parameters
	onLimit       string
	maxTime       time.Duration
	yes           bool     // every call runs without approval
	approve, deny []string // patterns of tools
	arrival       parley.Arrival
	from          string // who sends it
	files         []string
	json, quiet   bool
	reasoning     bool
	chatting      bool // another message may come while the turn waits
	rulesOnlyHere bool // --rules was given: it is for the process that decides
	seen          uint64
	screen        *screen
	keys          *keyboard
}

func (q *question) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	q.app.cfg.Generating(f)
	q.app.cfg.Calling(f)
	q.app.cfg.Deciding(f)
	q.app.cfg.Layout(f)
	f.StringVarP(&q.conversation, "conversation", "c", "", "continue this conversation")
	f.StringVar(&q.system, "system", "", "system prompt")
	f.StringSliceVar(&q.tools, "tools", nil, "names or patterns of the tools offered; none offers none")
	f.BoolVar(&q.yes, "yes", false, "run every call without asking, except those of --deny and --approve; replaces the deployment's rules except its denies, from now on")
	f.StringSliceVar(&q.approve, "approve", nil, "names or patterns of tools to ask a person about, also where they are pure; replaces the deployment's rules")
	f.StringSliceVar(&q.deny, "deny", nil, "names or patterns of tools that never run, besides those that the deployment denies")
	f.IntVar(&q.limits.Steps, "max-steps", 0, "most steps of a turn; 0 for the deployment's default")
	f.Int64Var(&q.limits.Tokens, "max-tokens", 0, "most tokens of a turn; 0 for the deployment's default")
	f.DurationVar(&q.maxTime, "max-time", 0, "longest time of a turn; 0 for the deployment's default")
	q.parameters.add(f)
	f.StringVar(&q.onLimit, "on-limit", "", "at a limit: end the turn, or ask a person whether it may continue")
	f.BoolVar(&q.reasoning, "reasoning", profile().Interactive, "show the model's reasoning")
	// It fails only for a flag that does not exist; this one is defined above.
	_ = cmd.RegisterFlagCompletionFunc("conversation", q.app.completeConversation)
}

func (a *app) newQuestion() *question {
	return &question{app: a, screen: newScreen(), keys: newKeyboard(os.Stdin)}
}

// whatWaits describes how people are asked, in the help of ask and chat.
const whatWaits = `A call that the policy asks about waits. In a terminal you are asked: y runs it,
n does not, e edits its arguments in $EDITOR, a answers in its place, A runs such
calls without asking from now on, v shows the arguments whole, s decides later.
Elsewhere the commands that decide are written to standard error.`

func (a *app) askCommand() *cobra.Command {
	q := a.newQuestion()
	cmd := &cobra.Command{
		Use:   "ask [QUESTION]",
		Short: "Ask a question and watch the answer as it comes",
		Long: `Ask a question and watch the answer as it comes. Without NATS_URL everything
runs in this process, unless a ` + "`parley up`" + ` runs on the same data directory.
"-" reads the question from standard input. --file attaches images (PNG, JPEG,
GIF, WebP), PDF and text files. Ctrl-C cancels the turn; a second one leaves.

` + whatWaits + `

` + exitCodes,
		Example: `  parley ask "What time is it in Oslo, and what is 17% of 2,340?"
  parley ask --approve now "What time is it in Oslo?"
  parley ask --model anthropic/claude-sonnet-4-5 "Why is the sky blue?"
  parley ask -f chart.png -f report.pdf "Does the chart fit the report?"
  git diff | parley ask - --system "Review this change."`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := givenQuestion(args, q.files)
			if err != nil {
				return err
			}
			q.rulesOnlyHere = cmd.Flags().Changed("rules")
			return q.run(cmd.Context(), text)
		},
	}
	q.flags(cmd)
	cmd.Flags().StringArrayVarP(&q.files, "file", "f", nil, "attach an image, a PDF or a text file; may be repeated")
	cmd.Flags().BoolVar(&q.json, "json", false, "events as NDJSON")
	cmd.Flags().BoolVarP(&q.quiet, "quiet", "q", false, "the answer's text and nothing else")
	return cmd
}

// givenQuestion is the question of ask, which may be empty if there are files.
func givenQuestion(args, files []string) (string, error) {
	switch {
	case len(args) == 1:
		return givenText("question", args[0])
	case len(files) == 0:
		return "", usagef("ask what? Give a question, or files with --file")
	}
	return "", nil
}

// givenText is a text that was given as an argument, or with "-" on standard input.
func givenText(what, argument string) (string, error) {
	text := argument
	if text == "-" {
		raw, err := io.ReadAll(os.Stdin)
		if err != nil {
			return "", fmt.Errorf("read the %s: %w", what, err)
		}
		text = string(raw)
	}
	if strings.TrimSpace(text) == "" {
		return "", usagef("the %s is empty", what)
	}
	return text, nil
}

func (q *question) run(ctx context.Context, text string) (err error) {
	files, err := readFiles(q.files)
	if err != nil {
		return err // before anything starts
	}
	s, err := q.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	v := q.view()
	if p, ok := v.(*people); ok && q.quiet {
		if fits, err := q.fits(ctx, s); err != nil {
			return err
		} else if fits {
			p.r.LastOnly()
		}
	}
	end, err := q.turn(ctx, s, v, text, files...)
	if err != nil {
		return err
	}
	return exitOf(end, q.quiet)
}

// fits reports whether the answers of the conversation fit a schema, so that one may be
// rejected.
func (q *question) fits(ctx context.Context, s *host.Session) (bool, error) {
	if given := q.parameters.schema; given != "" || q.fresh {
		return given != "" && given != noSchema, nil
	}
	v, err := s.Conversation(q.conversation).View(ctx)
	if parley.CodeOf(err) == parley.CodeNotFound {
		return false, nil
	}
	return len(v.Settings.AnswerSchema) > 0, err
}

func (q *question) view() view {
	if q.json {
		return &lines{jsonOutput()}
	}
	return newPeople(q.screen, terminal.Options{Reasoning: q.reasoning && !q.quiet, TextOnly: q.quiet})
}
