package command

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

const (
	tailBytes = 4 << 10 // of stderr in a failure's text
	peekBytes = 500     // of stdout in a failure's text
	// tempFail is the exit code of a program whose call may work later. Source:
	// EX_TEMPFAIL in sysexits.h
	tempFail = 75
)

// Run implements [tool.Tool].
func (t *command) Run(ctx context.Context, in tool.Input) (tool.Result, error) {
	args, err := in.Object()
	if err != nil {
		return tool.Result{}, err
	}
	argv, err := t.argv(args)
	if err != nil {
		return tool.Result{}, err
	}
	if t.spec.TimeoutMS > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(t.spec.TimeoutMS)*time.Millisecond)
		defer cancel()
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	cmd := exec.CommandContext(running, t.program)
	cmd.Args, cmd.Dir = argv, t.dir
	cmd.Env = append(t.env[:len(t.env):len(t.env)], "PWD="+t.dir,
		"PARLEY_CALL="+in.Call, "PARLEY_CONVERSATION="+in.Conversation, "PARLEY_TURN="+in.Turn)
	if t.stdin {
		raw, err := tool.JSON(args)
		if err != nil {
			return tool.Result{}, err
		}
		cmd.Stdin = bytes.NewReader(append(raw, '\n'))
	}
	out := &stdout{limit: t.limit, print: in.Output, stop: stop}
	stderr := &tail{}
	started, err := t.execute(running, cmd, out, stderr)
	if !started {
		return tool.Result{}, t.unstarted(ctx, err)
	}
	out.show(true)
	if err := t.outcome(ctx, cmd, err, out, stderr); err != nil {
		return tool.Result{}, err
	}
	return t.result(out, stderr)
}

// execute runs a program until it and its children have ended, and reports whether it
// was started.
func (t *command) execute(ctx context.Context, cmd *exec.Cmd, out *stdout, stderr *tail) (started bool, err error) {
	printed, err := newPipe(t.grace)
	if err != nil {
		return false, err
	}
	complained, err := newPipe(t.grace)
	if err != nil {
		printed.drop()
		return false, err
	}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = printed.out, complained.out, t.grace
	lead(cmd)
	if err := cmd.Start(); err != nil {
		printed.drop()
		complained.drop()
		return false, err
	}
	printed.start(out)
	complained.start(stderr)
	err = cmd.Wait()
	if ctx.Err() != nil { // its children had the grace, too
		sweep(cmd.Process.Pid)
	}
	printed.end()
	complained.end()
	<-printed.done
	<-complained.done
	sweep(cmd.Process.Pid)
	return true, err
}

// unstarted returns the error of a program that did not start.
func (t *command) unstarted(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s was not started: %w", t.called, ctx.Err())
	case errors.Is(err, syscall.E2BIG):
		return tool.Fail("the arguments are too long for %s: give shorter ones. The operator of the tool worker can pass them with stdin: json", t.called)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return tool.Fail("%s cannot be started; the operator of the tool worker must fix this: %v", t.called, err)
	}
	return tool.Retry(fmt.Errorf("%s cannot be started: %w", t.called, err), 0)
}

// outcome returns the error of a program that ran without a result, or nil. err
// is the error of Wait.
func (t *command) outcome(ctx context.Context, cmd *exec.Cmd, err error, out *stdout, stderr *tail) error {
	switch {
	case out.over:
		return tool.End(events.StatusTooLarge, "%s printed more than %d bytes and was terminated: request less. The operator of the tool worker can raise result_bytes", t.called, t.limit)
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // a child kept the input open
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%s timed out and was terminated: %w%s", t.called, ctx.Err(), last(out, stderr))
	case ctx.Err() != nil:
		return fmt.Errorf("%s was ended: %w", t.called, ctx.Err())
	case cmd.ProcessState.Success():
		return tool.Fail("%s cannot be read or written: %v", t.called, err)
	}
	// Such as "exit status 3" and "signal: killed".
	text := fmt.Sprintf("%s ended with %s%s", t.called, cmd.ProcessState, last(out, stderr))
	if cmd.ProcessState.ExitCode() == tempFail && t.spec.Effect != "" && t.spec.Effect != events.EffectOnce {
		return tool.Retry(errors.New(text), 0)
	}
	if !cmd.ProcessState.Exited() { // a signal ended it
		return tool.End(events.StatusCrashed, "%s", text)
	}
	return tool.Fail("%s", text)
}

// last returns the end of a program's output, for failures.
func last(out *stdout, stderr *tail) string {
	if text := stderr.text(); text != "" {
		return ". Its stderr: " + text
	}
	printed := out.buf.Bytes()
	if text := repair(printed[max(0, len(printed)-peekBytes):]); strings.TrimSpace(text) != "" {
		return ". It printed last: " + strings.TrimSpace(text)
	}
	return " and printed nothing"
}

// result converts the output of a successful program to a result.
func (t *command) result(out *stdout, stderr *tail) (tool.Result, error) {
	content := repair(out.buf.Bytes())
	if t.json {
		structured, err := compact(content)
		if err != nil {
			return tool.Result{}, tool.Fail("%s did not print one JSON value: %v. It printed: %s", t.called, err,
				cmp.Or(strings.TrimSpace(repair([]byte(content[:min(len(content), peekBytes)]))), "nothing"))
		}
		return tool.Result{Content: string(structured), Structured: structured}, nil
	}
	if strings.TrimSpace(content) == "" {
		content = fmt.Sprintf("(%s succeeded and printed nothing)", t.called)
		if text := stderr.text(); text != "" {
			content = fmt.Sprintf("(%s succeeded, printed nothing on stdout, and printed on stderr: %s)", t.called, text)
		}
	}
	return tool.Result{Content: content}, nil
}

func compact(text string) (json.RawMessage, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
