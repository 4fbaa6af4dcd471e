package arithmetic

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestEvaluate(t *testing.T) {
	deep := strings.Repeat("(", 99) + "7" + strings.Repeat(")", 99)
	for _, c := range []struct{ name, in, want string }{
		{"a percentage of a number with thousands", "17% of 2,340", "397.8"},
		{"percent may be a word", "17 percent of 2,340", "397.8"},
		{"a percentage alone is a fraction", "17%", "0.17"},
		{"a percentage is added as a fraction", "200 + 10%", "200.1"},
		{"a percent sign before a number is the remainder", "10 % 3", "1"},
		{"a percent sign before a sign is a percentage", "10% - 3", "-2.9"},
		{"a remainder takes the sign of the divisor", "-7 % 3", "2"},
		{"a remainder of fractions is exact", "5.5 % 0.2", "0.1"},
		{"products bind stronger than sums", "2 + 3 * 4", "14"},
		{"differences go from left to right", "10 - 3 - 2", "5"},
		{"a power binds stronger than a sign", "-2^2", "-4"},
		{"powers go from right to left", "2^3^2", "512"},
		{"two stars are a power", "2**10", "1024"},
		{"a negative power is exact", "2^-2", "0.25"},
		{"a root as a power is exact when it can be", "2.25^0.5", "1.5"},
		{"signs add up", "--5", "5"},
		{"decimal fractions carry no float noise", "0.1 + 0.2", "0.3"},
		{"an endless fraction is marked as rounded", "1/3", "0.333333333333333 (rounded)"},
		{"two endless fractions make an exact number", "1/3 + 2/3", "1"},
		{"an irrational root is marked as rounded", "sqrt(2)", "1.4142135623731 (rounded)"},
		{"a root of a square is exact", "sqrt(2,25)", ""},
		{"a root of a large square is exact", "sqrt(10^40)", "1" + strings.Repeat("0", 20)},
		{"a comma separates arguments inside a function", "max(2,340)", "340"},
		{"a comma groups thousands in parentheses inside a function", "max((2,340), 5)", "2340"},
		{"several groups of thousands make one number", "1,234,567.5 * 2", "2469135"},
		{"half rounds away from zero", "round(-2.5)", "-3"},
		{"rounding takes digits", "round(10/3, 2)", "3.33"},
		{"rounding takes negative digits", "round(1234, -2)", "1200"},
		{"floor and ceil go down and up for negative numbers", "floor(-1.5)*10 + ceil(-1.5)", "-21"},
		{"a logarithm of a power of ten is exact", "log(1000)", "3"},
		{"a logarithm beyond float64 is exact", "log2(2^4000)", "4000"},
		{"a logarithm has a base", "log(81, 3)", "4"},
		{"names with digits are functions", "log10(0.001)", "-3"},
		{"the natural logarithm of e is 1", "ln(e)", "1 (rounded)"},
		{"the sine of pi is zero", "sin(pi)", "0 (rounded)"},
		{"the cosine of zero is exact", "cos(0)", "1"},
		{"names ignore case", "SQRT(16) + Abs(-1)", "5"},
		{"exponents of literals are understood", "1.5e3", "1500"},
		{"e behind an operator is the constant", "2*e-3", "2.43656365691809 (rounded)"},
		{"typographic signs are understood", "6 × 7 ÷ 2 − 1", "20"},
		{"words are operators", "12 times 7 plus 6 divided by 2", "87"},
		{"x is a multiplication", "12 x 7", "84"},
		{"a large power is printed whole", "2^100", "1267650600228229401496703205376"},
		{"compound interest is precise", "round(1000 * (1 + 5%/12)^(12*10), 2)", "1647.01"},
		{"a power too long to be exact is rounded", "1.0000001^10000000", "2.71828169254497 (rounded)"},
		{"a large rounded value has an exponent", "pi * 10^30", "3.14159265358979e30 (rounded)"},
		{"a small rounded value has an exponent", "10^-30 / 3", "3.33333333333333e-31 (rounded)"},
		{"deep parentheses work up to the bound", deep, "7"},
		{"nothing to the power of nothing is one", "0^0", "1"},
		{"one to a huge power is one", "(-1)^99999999999999999999", "-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := Evaluate(c.in)
			if c.want == "" {
				if err == nil {
					t.Fatalf("%s = %s, want an error", c.in, v)
				}
				return
			}
			if err != nil || v.String() != c.want {
				t.Fatalf("%s = %v, %v; want %s", c.in, v, err, c.want)
			}
		})
	}
}

func TestEvaluateRefuses(t *testing.T) {
	for _, c := range []struct {
		name, in string
		position int
		message  string
	}{
		{"nothing", "", 1, "found the end"},
		{"an open end", "1 +", 4, "found the end"},
		{"an open parenthesis", "(1 + 2", 7, `")"`},
		{"a closed parenthesis too many", "1)", 2, "expected an operator"},
		{"two numbers in a row", "1 2", 3, "expected an operator"},
		{"a name directly behind a number", "2pi", 2, `found "pi"`},
		{"a decimal comma", "3,14", 2, "with a point"},
		{"groups behind a long number", "1234,567", 5, "with a point"},
		{"a point without digits", "5.", 3, "expected digits"},
		{"two points", "1.2.3", 4, "expected an operator"},
		{"an unknown name, with those that are known", "2 + foo(3)", 5, "sqrt"},
		{"a currency sign, counted in characters", "“$5”", 1, "expected a number"},
		{"thousands inside a function of one argument", "sqrt(2,340)", 1, "write 2340"},
		{"a function without parentheses", "sqrt 4", 6, `"("`},
		{"a division by zero, at its sign", "1 + 5/0", 6, "division by zero"},
		{"a remainder of zero", "5 % (1-1)", 3, "division by zero"},
		{"a root of a negative number", "sqrt(-1)", 1, "not real"},
		{"a fractional power of a negative number", "(-8)^(1/3)", 5, "not real"},
		{"a logarithm of zero", "log(0)", 1, "positive"},
		{"the tangent where there is none", "tan(pi/2)", 1, "cosine is 0"},
		{"a huge power at once", "2^99999999", 2, "too large"},
		{"a tower of powers at once", "9^9^9^9^9^9", 8, "too large"},
		{"a huge exponent of a literal", "1e999999999", 2, "out of range"},
		{"a huge product", "2^4000*2^4000", 7, "too large"},
		{"a power that vanishes", "1e-300^99", 7, "too fine"},
		{"rounding to a fraction of a digit", "round(1, 0.5)", 1, "whole number"},
		{"parentheses without end", strings.Repeat("(", 500), 101, "nested deeper"},
		{"powers without end", strings.Repeat("2^", 400) + "2", 201, "nested deeper"},
		{"a long expression", strings.Repeat("1+", 600) + "1", 1, "at most 1000"},
		{"bytes that are no text", "1+\xff", 1, "UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			v, err := Evaluate(c.in)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%s = %v, want an error", c.in, v)
			}
			if e.Position != c.position || !strings.Contains(e.Message, c.message) {
				t.Fatalf("%s: got %v, want position %d and %q", c.in, e, c.position, c.message)
			}
			if d := time.Since(start); d > time.Second {
				t.Fatalf("took %s", d)
			}
		})
	}
}

func FuzzEvaluate(f *testing.F) {
	for _, s := range []string{"17% of 2,340", "2^99999999", "max(1,2;3)%", "--1e3^-2", "log(81, 3) mod 7", "((1", "sin(pi)/0", "5%%-x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		start := time.Now()
		v, err := Evaluate(s)
		if d := time.Since(start); d > 2*time.Second {
			t.Fatalf("%q took %s", s, d)
		}
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Position < 1 {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		// A value printed as exact parses to the same value.
		if text := v.String(); !v.Rounded && !strings.HasSuffix(text, "(rounded)") && len(text) < MaxLength {
			again, err := Evaluate(text)
			if err != nil || again.r.Cmp(v.r) != 0 {
				t.Fatalf("%q = %s, read again as %v, %v", s, text, again, err)
			}
		}
	})
}
