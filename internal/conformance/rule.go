package conformance

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Soon bounds what a program does at once, on a busy machine.
const Soon = 20 * time.Second

// Rule is one rule of a role's checklist.
type Rule struct {
	Number int    // in the checklist; several rules may check one number
	Says   string // what the program does, as in "it appends ToolStarted first"
	// Holds runs the program and reports what it does wrong.
	Holds func(c *Check)
}

// Program is the program under test.
type Program struct {
	Command []string // the program and its arguments
	Env     []string // besides the environment of this process
}

// Result is how a rule ended.
type Result struct {
	Number   int      `json:"number"`
	Says     string   `json:"rule"`
	OK       bool     `json:"ok"`
	Problems []string `json:"problems,omitempty"` // what happened, and what was expected
	Output   string   `json:"output,omitempty"`   // of the program, if the rule failed
	TookMS   int64    `json:"took_ms"`
}

// String is the result on one line.
func (r *Result) String() string {
	if r.OK {
		return fmt.Sprintf("ok   %-2d %s", r.Number, r.Says)
	}
	return fmt.Sprintf("FAIL %-2d %s: %s", r.Number, r.Says, strings.Join(strings.Fields(strings.Join(r.Problems, "; ")), " "))
}

// DefaultTimeout is how long a rule may take.
const DefaultTimeout = 2 * time.Minute

// Options say how rules are run.
type Options struct {
	Timeout time.Duration // of each rule; 0 means [DefaultTimeout]
	AtOnce  int           // rules that run at the same time; 0 means 8
}

// Run checks rules and passes on the results in the order of the rules. It returns the
// number of rules that failed. It stops early, with the results so far, when ctx ends.
func Run(ctx context.Context, p Program, rules []Rule, o Options, result func(Result)) (failed int) {
	results := make([]chan Result, len(rules))
	slots := make(chan struct{}, cmp.Or(o.AtOnce, 8))
	var running sync.WaitGroup
	defer running.Wait()
	for i := range rules {
		results[i] = make(chan Result, 1)
	}
	running.Go(func() {
		for i, r := range rules {
			slots <- struct{}{}
			running.Go(func() {
				defer func() { <-slots }()
				results[i] <- r.Run(ctx, p, o.Timeout)
			})
		}
	})
	for _, one := range results {
		r := <-one
		if !r.OK {
			failed++
		}
		if ctx.Err() == nil {
			result(r)
		}
	}
	return failed
}

// Run checks the rule with a program, in at most the given time; 0 means
// [DefaultTimeout].
func (r Rule) Run(ctx context.Context, p Program, timeout time.Duration) Result {
	began := time.Now()
	ctx, stop := context.WithTimeout(ctx, cmp.Or(timeout, DefaultTimeout))
	defer stop()
	c := &Check{ctx: ctx, program: p}
	c.alone(func() { r.Holds(c) })
	if err := ctx.Err(); err != nil && !c.Failed() {
		c.Errorf("the rule did not come to an end: %v", err)
	}
	stop()
	for f := c.cleanup(); f != nil; f = c.cleanup() {
		c.alone(f)
	}
	result := Result{Number: r.Number, Says: r.Says, OK: !c.Failed(), TookMS: time.Since(began).Milliseconds()}
	c.mu.Lock()
	defer c.mu.Unlock()
	result.Problems = c.problems
	for _, p := range c.output {
		if text := ending(p.Output()); text != "" && !result.OK {
			result.Output += "output of " + p.Name + ":\n" + text
		}
	}
	return result
}

// alone calls a function on a goroutine of its own, which [Check.Fatalf] ends.
func (c *Check) alone(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

// outputLines is how many lines of a program's output a result has, and outputWidth how
// many characters of each.
const outputLines, outputWidth = 12, 300

// ending returns the last lines of a program's output.
func ending(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	var b strings.Builder
	for _, line := range lines[max(len(lines)-outputLines, 0):] {
		if line = strings.TrimSpace(strings.ToValidUTF8(line, "?")); line != "" {
			fmt.Fprintf(&b, "%.*s\n", outputWidth, line)
		}
	}
	return b.String()
}
