// Package arithmetic evaluates expressions in the notation of people and
// models: "17% of 2,340", "2^10 - 1", "round(10/3, 2)". Numbers are exact
// fractions as long as every operation has an exact result; other results are
// marked as rounded.
//
// The expression's length and depth and the size of every intermediate value
// are bounded, so that hostile input fails quickly.
package arithmetic

import (
	"fmt"
	"math/big"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The bounds of an evaluation.
const (
	MaxLength = 1000 // bytes of an expression
	MaxDepth  = 100  // nested parentheses, functions and powers
	MaxBits   = 4096 // bits of a numerator or denominator, about 1,200 digits
)

// Error describes what is wrong in an expression, and where.
type Error struct {
	Position int // in characters, from 1
	Message  string
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("at position %d: %s", e.Position, e.Message) }

// Evaluate returns the value of an expression. Its error is an [*Error].
//
// Operators by increasing precedence: + and -; *, /, % (remainder) and "of"; a
// sign; ^ (right-associative); % (percent). A % is the remainder if a number, a
// name or "(" follows, otherwise percent. A comma groups thousands; directly
// inside the parentheses of a function it separates arguments.
func Evaluate(expression string) (Value, error) {
	p := &parser{text: expression}
	if len(expression) > MaxLength {
		return Value{}, p.fail(0, "the expression has %d bytes, at most %d are allowed", len(expression), MaxLength)
	}
	if !utf8.ValidString(expression) {
		return Value{}, p.fail(0, "the expression is not valid UTF-8")
	}
	v, err := p.sum()
	if err != nil {
		return Value{}, err
	}
	if p.space(); p.at < len(p.text) {
		return Value{}, p.fail(p.at, "expected an operator, found %s", p.found())
	}
	return v, nil
}

type parser struct {
	text  string
	at    int // byte offset
	depth int
	// call is true directly inside a function's parentheses, where a comma
	// separates arguments.
	call bool
}

func (p *parser) fail(at int, format string, args ...any) error {
	return &Error{Position: utf8.RuneCountInString(p.text[:at]) + 1, Message: fmt.Sprintf(format, args...)}
}

// found describes the token at the cursor, for errors.
func (p *parser) found() string {
	if p.at >= len(p.text) {
		return "the end"
	}
	if w := p.peekWord(); w != "" {
		return fmt.Sprintf("%q", w)
	}
	r, _ := utf8.DecodeRuneInString(p.text[p.at:])
	return fmt.Sprintf("%q", string(r))
}

func (p *parser) space() {
	p.at = len(p.text) - len(strings.TrimLeftFunc(p.text[p.at:], unicode.IsSpace))
}

func (p *parser) peekWord() string {
	rest := p.text[p.at:]
	end := strings.IndexFunc(rest, func(r rune) bool { return !unicode.IsLetter(r) })
	if end < 0 {
		end = len(rest)
	}
	// log2 and log10 are names; a digit anywhere else ends a word.
	if strings.EqualFold(rest[:end], "log") {
		for _, digits := range []string{"10", "2"} {
			if strings.HasPrefix(rest[end:], digits) {
				return rest[:end+len(digits)]
			}
		}
	}
	return rest[:end]
}

// operator consumes the operator at the cursor if it is one of the given ones
// (signs or lower-case words), and returns it.
func (p *parser) operator(any ...string) string {
	p.space()
	word := strings.ToLower(p.peekWord())
	for _, op := range any {
		if word == op || (word == "" && strings.HasPrefix(p.text[p.at:], op)) {
			p.at += len(op)
			return op
		}
	}
	return ""
}

func (p *parser) enter() error {
	if p.depth++; p.depth > MaxDepth {
		return p.fail(p.at, "the expression is nested deeper than %d", MaxDepth)
	}
	return nil
}

func (p *parser) sum() (Value, error) {
	left, err := p.product()
	for err == nil {
		p.space()
		at := p.at
		op := p.operator("+", "-", "−", "–", "plus", "minus")
		if op == "" {
			break
		}
		var right Value
		if right, err = p.product(); err != nil {
			break
		}
		r := new(big.Rat)
		if op == "+" || op == "plus" {
			r.Add(left.r, right.r)
		} else {
			r.Sub(left.r, right.r)
		}
		left, err = p.bounded(at, Value{r, left.Rounded || right.Rounded})
	}
	return left, err
}

func (p *parser) product() (Value, error) {
	left, err := p.signed()
	for err == nil {
		p.space()
		at := p.at
		if strings.HasPrefix(p.text[p.at:], "**") {
			break
		}
		op := p.operator("*", "×", "·", "⋅", "/", "÷", "%", "of", "times", "x", "divided", "mod")
		if op == "" {
			break
		}
		if op == "divided" && p.operator("by") == "" {
			return Value{}, p.fail(p.at, `expected "by" after "divided", found %s`, p.found())
		}
		var right Value
		if right, err = p.signed(); err != nil {
			break
		}
		switch op {
		case "/", "÷", "divided", "%", "mod":
			if right.r.Sign() == 0 {
				return Value{}, p.fail(at, "division by zero")
			}
			v := new(big.Rat).Quo(left.r, right.r)
			if op == "%" || op == "mod" {
				v.Mul(new(big.Rat).SetInt(floor(v)), right.r)
				v.Sub(left.r, v)
			}
			left, err = p.bounded(at, Value{v, left.Rounded || right.Rounded})
		default:
			left, err = p.bounded(at, Value{new(big.Rat).Mul(left.r, right.r), left.Rounded || right.Rounded})
		}
	}
	return left, err
}

func (p *parser) signed() (Value, error) {
	negative := false
	for {
		op := p.operator("-", "−", "–", "+", "minus")
		if op == "" {
			break
		}
		negative = negative != (op != "+")
	}
	v, err := p.power()
	if err == nil && negative {
		v.r = new(big.Rat).Neg(v.r)
	}
	return v, err
}

func (p *parser) power() (Value, error) {
	if err := p.enter(); err != nil {
		return Value{}, err
	}
	defer func() { p.depth-- }()
	base, err := p.percent()
	if err != nil {
		return base, err
	}
	p.space()
	at := p.at
	if p.operator("^", "**") == "" {
		return base, nil
	}
	exponent, err := p.signed()
	if err != nil {
		return exponent, err
	}
	return p.raise(at, base, exponent)
}

func (p *parser) percent() (Value, error) {
	v, err := p.primary()
	for err == nil {
		p.space()
		at := p.at
		op := p.operator("%", "percent")
		if op == "" {
			break
		}
		if op == "%" && p.operandFollows() {
			p.at = at
			break
		}
		v, err = p.bounded(at, Value{new(big.Rat).Quo(v.r, big.NewRat(100, 1)), v.Rounded})
	}
	return v, err
}

// operandFollows distinguishes a remainder from a percent sign.
func (p *parser) operandFollows() bool {
	p.space()
	switch strings.ToLower(p.peekWord()) {
	case "":
		return p.at < len(p.text) && strings.IndexByte("0123456789.(", p.text[p.at]) >= 0
	case "of", "times", "x", "divided", "mod", "plus", "minus", "percent":
		return false
	}
	return true
}

func (p *parser) primary() (Value, error) {
	p.space()
	if p.at >= len(p.text) {
		return Value{}, p.fail(p.at, "expected a number, found the end")
	}
	if p.text[p.at] == '(' {
		p.at++
		v, err := p.inside(false)
		if err == nil && p.operator(")") == "" {
			err = p.fail(p.at, `expected an operator or ")", found %s`, p.found())
		}
		return v, err
	}
	if c := p.text[p.at]; c == '.' || (c >= '0' && c <= '9') {
		return p.number()
	}
	if word := p.peekWord(); word != "" {
		return p.name(word)
	}
	return Value{}, p.fail(p.at, "expected a number, found %s", p.found())
}

// inside parses a sum within parentheses; call reports whether they are a
// function's.
func (p *parser) inside(call bool) (Value, error) {
	outer := p.call
	p.call = call
	v, err := p.sum()
	p.call = outer
	return v, err
}
