package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/daemon"
)

func TestExitCodesFollowFromErrors(t *testing.T) {
	t.Parallel()
	coded := func(code parley.Code) error { return &parley.Error{Code: code, Err: errors.New("so")} }
	for name, c := range map[string]struct {
		err  error
		want int
	}{
		"nothing":                     {nil, exitOK},
		"a reader that went away":     {fmt.Errorf("write: %w", errBrokenPipe), exitOK},
		"any error":                   {errors.New("so"), exitFailed},
		"wrong usage":                 {usagef("--speed %d", 1), exitUsage},
		"no server":                   {coded(parley.CodeNoServer), exitNobody},
		"no streams":                  {coded(parley.CodeNotSetUp), exitNobody},
		"no worker":                   {fmt.Errorf("ask: %w", coded(parley.CodeNoWorker)), exitNobody},
		"no orchestrator":             {coded(parley.CodeNoOrchestrator), exitUnowned},
		"a full disk":                 {coded(parley.CodeNotStored), exitNotStored},
		"no answer":                   {coded(parley.CodeNoAnswer), exitNotStored},
		"a refusal":                   {&parley.AnswerError{Answer: &parley.InputAnswered{Answer: parley.AnswerRefused}}, exitFailed},
		"no conversation":             {coded(parley.CodeNotFound), exitFailed},
		"an error beside one of ours": {errors.Join(coded(parley.CodeNoServer), errors.New("close")), exitNobody},
		"an exit that was decided":    {&exitError{exitCancelled, coded(parley.CodeNoServer)}, exitCancelled},
	} {
		if got := codeOf(c.err); got != c.want {
			t.Errorf("%s exits with %d, want %d", name, got, c.want)
		}
	}
}

func TestExitCodesFollowFromTheEndOfATurn(t *testing.T) {
	t.Parallel()
	for outcome, want := range map[parley.Outcome]int{
		parley.OutcomeCompleted: exitOK, parley.OutcomeLimit: exitLimit, parley.OutcomeCancelled: exitCancelled, parley.OutcomeFailed: exitFailed,
	} {
		end := &parley.TurnEnded{Outcome: outcome, Reason: "so"}
		shown, quiet := exitOf(end, false), exitOf(end, true)
		if codeOf(shown) != want || codeOf(quiet) != want {
			t.Errorf("%s exits with %d and %d, want %d", outcome, codeOf(shown), codeOf(quiet), want)
		}
		if complaint(shown) != "" || want != exitOK && complaint(quiet) != "the turn ended as "+string(outcome)+": so" {
			t.Errorf("%s complains %q and %q", outcome, complaint(shown), complaint(quiet))
		}
	}
}

// executed runs a command on an empty data directory.
func executed(t *testing.T, args ...string) error {
	t.Helper()
	cfg, err := daemon.Defaults(func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	return (&app{cfg: cfg, data: t.TempDir(), logTo: io.Discard}).execute(t.Context(), args)
}

func TestWrongUsageIsReported(t *testing.T) {
	t.Parallel()
	const id = "0198c0de-0000-7000-8000-000000000000"
	for line, want := range map[string]string{
		"nonsense":                                   "unknown command",
		"ask":                                        "ask what",
		"ask --nonsense x":                           "unknown flag",
		"ask x --max-steps -1":                       "--max-steps, --max-tokens and --max-time must not be below 0",
		"ask x --on-limit stop":                      "--on-limit: ",
		"ask x --deny [":                             "--approve and --deny: ",
		"ask x -c abc":                               "abc",
		"ask x --log-level loud":                     "log level \"loud\" is none of",
		"send abc x":                                 "abc",
		"send " + id + " x --queue --refuse":         "none of the others can be",
		"show abc":                                   "abc",
		"show " + id + " -f xml":                     "--format \"xml\" is none of text, md, json",
		"ls --limit -1":                              "--limit -1 must not be below 0",
		"ls -o xml":                                  "--output \"xml\" is neither text nor json",
		"approvals -o xml":                           "--output \"xml\" is neither",
		"top -o xml":                                 "--output \"xml\" is neither",
		"doctor -o xml":                              "--output \"xml\" is neither",
		"doctor --log-level loud":                    "log level \"loud\" is none of",
		"where abc":                                  "abc",
		"replay " + id + " --speed -1":               "--speed -1 must be above 0",
		"tail " + id + " --from x":                   "x",
		"tail " + id + " --json --raw":               "none of the others can be",
		"delete":                                     "name the conversations to delete, or give --older-than",
		"delete --older-than -1h":                    "--older-than -1h0m0s must be above 0",
		"delete abc":                                 "abc",
		"tools call now {} --timeout -1s":            "--timeout -1s must be above 0",
		"mcp --tools [":                              "--tools \"[\" is no pattern",
		"mcp --allow-effects all":                    "--allow-effects \"all\" is none of pure, idempotent, once",
		"mcp --http 8931":                            "--http \"8931\" is no address",
		"mcp --http :8931":                           "--http :8931 can be reached from other machines",
		"up --only cook":                             "there is no role \"cook\"",
		"up --replicas cook=2":                       "there is no role \"cook\"",
		"up --replicas tool-worker=0":                "--replicas tool-worker=0 must be a number from 1 to 100",
		"up --replicas tool-worker=x":                "--replicas tool-worker=x must be a number from 1 to 100",
		"up --sync never":                            "--sync must be \"always\" or left out, not \"never\"",
		"up --only broker --nats nats://127.0.0.1:1": "NATS_URL names a server",
		"approve " + id + " a --all":                 "--all and CALL exclude each other",
		"edit " + id + " a --arguments x":            "--arguments: ",
		"cancel " + id + " --all --queue":            "none of the others can be",
		"decode --provider cohere -":                 "no decoder for provider \"cohere\"",
		"decode":                                     "required flag",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			err := executed(t, strings.Fields(line)...)
			if codeOf(err) != exitUsage || !strings.Contains(complaint(err), want) {
				t.Errorf("exits with %d and %q, want %q", codeOf(err), complaint(err), want)
			}
		})
	}
}

func TestWithoutDataNothingIsStarted(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"ls", "approvals", "top", "show 0198c0de-0000-7000-8000-000000000000", "delete --older-than 1h"} {
		if err := executed(t, strings.Fields(line)...); codeOf(err) != exitNobody || !strings.HasPrefix(complaint(err), "there are no conversations in ") {
			t.Errorf("%s exits with %d and %q", line, codeOf(err), complaint(err))
		}
	}
}
