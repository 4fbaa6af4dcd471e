package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/daemon"
)

// app is what all commands share.
type app struct {
	cfg    daemon.Config
	data   string // data directory of the embedded server
	output string // text or json
	sync   string // always: every message is on disk before it counts
	logTo  io.Writer
	ran    bool // a command started: failures from now on are no wrong usage
}

func run(args []string) int {
	daemon.Protect()
	cfg, err := daemon.Defaults(daemon.TakeEnvironment())
	if err != nil {
		fmt.Fprintln(stderr(), "parley: "+err.Error())
		return exitUsage
	}
	// A reader that goes away, such as head, shows as an error of the write. By
	// default it would end the process, and leave the embedded server's file and
	// leases behind.
	signal.Ignore(syscall.SIGPIPE)
	a := &app{cfg: cfg, data: dataDir(), logTo: stderr()}
	err = a.execute(context.Background(), args)
	if text := cfg.Secrets.Message(complaint(err)); text != "" {
		fmt.Fprintln(stderr(), "parley: "+text)
	}
	return codeOf(err)
}

// execute runs a command. What fails before it starts is wrong usage.
func (a *app) execute(ctx context.Context, args []string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cmd := a.root()
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	if err != nil && !a.ran {
		return usage(err)
	}
	return err
}

// complaint is the text of an error for people; empty for one that was shown.
func complaint(err error) string {
	if err == nil || errors.Is(err, errBrokenPipe) {
		return ""
	}
	return strings.TrimSpace(err.Error())
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "parley",
		Short: "LLM conversations on a message bus",
		Long: `Parley runs LLM conversations on NATS JetStream: models stream events to a
subject per conversation, an orchestrator dispatches tool calls, and anyone can
watch live, replay later, or answer.

Without NATS_URL a server is embedded; its data is in ` + a.data + `.
Other NATS clients on this machine connect to it after: eval "$(parley env)"

` + exitCodes,
		Version:       daemon.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(stdout())
	root.SetErr(stderr())
	flags := root.PersistentFlags()
	a.cfg.Connection(flags)
	flags.StringVar(&a.data, "data", a.data, "data directory of the embedded server (PARLEY_DATA)")
	flags.StringVar(&a.cfg.LogLevel, "log-level", cmp.Or(a.cfg.LogLevel, "warn"), "debug, info, warn or error (PARLEY_LOG_LEVEL)")
	flags.StringVar(&a.cfg.LogFormat, "log-format", cmp.Or(a.cfg.LogFormat, "text"), "text or json (PARLEY_LOG_FORMAT)")
	root.AddCommand(a.askCommand(), a.chatCommand(), a.upCommand(), a.tailCommand(), a.replayCommand(),
		a.listCommand(), a.envCommand(), a.whereCommand(), a.showCommand(), a.approvalsCommand(), a.approveCommand(), a.rejectCommand(), a.editCommand(), a.answerCommand(),
		a.toolsCommand(), a.mcpCommand(), a.topCommand(), a.revokeCommand(), a.policyCommand(), a.keyCommand(), a.sendCommand(), a.cancelCommand(), a.compactCommand(), a.deleteCommand(), a.decodeCommand(), a.doctorCommand(), a.modelsCommand(), a.setupCommand(), a.permissionsCommand(), a.conformanceCommand(), benchCommand())
	for _, cmd := range root.Commands() {
		// Not in a PreRun: cobra looks for required flags, and for those that
		// exclude each other, after it.
		if run := cmd.RunE; run != nil {
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				a.ran = true
				return run(cmd, args)
			}
		}
	}
	return root
}

// dataDir is where the embedded server keeps its data by default: the platform's
// directory for application data.
func dataDir() string {
	if dir := os.Getenv("PARLEY_DATA"); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "parley")
	}
	home, err := os.UserHomeDir()
	switch {
	case err != nil:
		return ".parley"
	case runtime.GOOS == "darwin":
		return filepath.Join(home, "Library", "Application Support", "parley")
	}
	return filepath.Join(home, ".local", "share", "parley")
}

// outputFlag adds --output to a command that lists.
func (a *app) outputFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&a.output, "output", "o", "text", "text or json")
}

func (a *app) json() (bool, error) {
	switch a.output {
	case "", "text":
		return false, nil
	case "json":
		return true, nil
	}
	return false, usagef("--output %q is neither text nor json", a.output)
}
