package policy

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"

	"github.com/parleybus/parley/internal/events"
)

// The bounds of conditions. Costs are CEL's: about one for each access, call and
// round of a macro, and more for long texts and lists (see tariff in cost.go).
// They are counted, not timed, so that a ruling is the same on every machine.
// The library takes quadratic time to count: 30,000 are 70 ms at worst.
const (
	maxCondition  = 2_000   // bytes of one condition
	maxConditions = 1_000   // compiled conditions that a Judge keeps
	maxNesting    = 50      // parentheses, selections and operators in each other
	maxNodes      = 5_000   // nodes of the expanded expression
	maxCost       = 30_000  // of one evaluation
	maxTotalCost  = 300_000 // of all conditions on one call, within one evaluation
	maxBudget     = 600_000 // of all conditions on all calls of one decision
)

// Budget is what the conditions on all calls of one decision may cost together.
type Budget struct{ left int64 }

// NewBudget returns the full budget of one decision.
func NewBudget() *Budget { return &Budget{left: maxBudget} }

// Why a condition is not evaluated, in addition to CEL's errors.
var (
	errBudget = errors.New("the conditions before it have used up what one call may cost")
	errShared = errors.New("the conditions on the calls before it have used up what one decision may cost")
	errResult = errors.New("its result is not true or false")
)

// condition is a compiled condition, or the error of compiling it.
type condition struct {
	program cel.Program
	err     error
}

// conditions caches compiled conditions, and also the errors of those that do
// not compile, so that a call does not compile them again.
type conditions struct {
	prepare sync.Once
	env     *cel.Env
	err     error

	mu       sync.RWMutex
	compiled map[string]condition // by text
}

// holds evaluates a condition on a call.
func (c *conditions) holds(text string, f *facts) (bool, error) {
	compiled := c.get(text)
	if compiled.err != nil {
		return false, compiled.err
	}
	vars, err := f.variables()
	if err != nil {
		return false, err
	}
	switch {
	case f.budget <= 0 && f.shared:
		f.skipped = true
		return false, errShared
	case f.budget <= 0:
		return false, errBudget
	}
	out, details, err := compiled.program.Eval(vars)
	spent := int64(maxCost) // a stopped evaluation does not report its cost
	if cost := details.ActualCost(); cost != nil {
		spent = int64(min(*cost, maxCost))
	}
	f.budget -= max(1, spent)
	if err != nil {
		return false, fmt.Errorf("the condition cannot be evaluated: %w", err)
	}
	is, ok := out.(types.Bool)
	if !ok {
		return false, errResult
	}
	return bool(is), nil
}

func (c *conditions) get(text string) condition {
	c.mu.RLock()
	found, ok := c.compiled[text]
	c.mu.RUnlock()
	if ok || len(text) > maxCondition {
		if !ok {
			found.err = fmt.Errorf("the condition has %d bytes, at most %d are allowed: split it into several rules", len(text), maxCondition)
		}
		return found
	}
	c.prepare.Do(func() { c.env, c.err = environment() })
	if c.err != nil {
		return condition{err: c.err}
	}
	found.program, found.err = compile(c.env, text)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.compiled == nil || len(c.compiled) >= maxConditions {
		c.compiled = map[string]condition{}
	}
	c.compiled[text] = found
	return found
}

// environment returns the names that a condition can use. The macro map is left
// out: it can build values much larger than the arguments.
func environment() (*cel.Env, error) {
	e, err := cel.NewCustomEnv(
		cel.StdLib(cel.StdLibSubset(&env.LibrarySubset{ExcludeMacros: []string{"map"}})),
		ext.Strings(ext.StringsVersion(0)),
		ext.Math(),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserRecursionLimit(maxNesting),
		cel.ParserExpressionSizeLimit(maxCondition),
		cel.ExpressionNodeLimit(maxNodes),
		cel.Variable("args", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("tool", cel.StringType),
		cel.Variable("effect", cel.StringType),
	)
	if err != nil {
		return nil, fmt.Errorf("set up the language of conditions: %w", err)
	}
	return e, nil
}

// compile compiles a condition. It returns a panic of the library as an error,
// because the text is untrusted.
func compile(e *cel.Env, text string) (program cel.Program, err error) {
	defer func() {
		if p := recover(); p != nil {
			program, err = nil, fmt.Errorf("the condition cannot be compiled: %v", p)
		}
	}()
	tree, issues := e.Compile(text)
	if err := issues.Err(); err != nil {
		return nil, located(issues)
	}
	if t := tree.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("the condition returns a %s: write one that is true or false", t)
	}
	patterns, err := restrict(tree.NativeRep().Expr())
	if err != nil {
		return nil, err
	}
	return e.Program(tree, cel.EvalOptions(cel.OptOptimize), cel.CostTracking(tariff{patterns}), cel.CostLimit(maxCost))
}

// located formats the first error of the compiler on one line.
func located(issues *cel.Issues) error {
	first := issues.Errors()[0]
	text, _, _ := strings.Cut(first.Message, "\n")
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + "…"
	}
	line, column := first.Location.Line(), first.Location.Column()+1
	switch {
	case line > 1:
		return fmt.Errorf("the condition does not compile: line %d, column %d: %s", line, column, text)
	case column > 0:
		return fmt.Errorf("the condition does not compile: column %d: %s", column, text)
	}
	return fmt.Errorf("the condition does not compile: %s", text)
}

// facts is the input of conditions.
type facts struct {
	call   Call
	budget int64 // remaining cost
	shared bool  // earlier calls have used a part of the budget
	// skipped is set when a condition was not evaluated for that reason.
	skipped bool

	vars map[string]any
	err  error
}

// variables decodes the arguments when the first condition needs them.
func (f *facts) variables() (map[string]any, error) {
	if f.vars == nil && f.err == nil {
		args, err := arguments(events.Arguments(f.call.Arguments))
		if err != nil {
			f.err = err
		} else {
			f.vars = map[string]any{"args": args, "tool": f.call.Tool, "effect": string(f.call.Effect)}
		}
	}
	return f.vars, f.err
}
